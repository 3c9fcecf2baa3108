//! What routes answer beside what they are there for, by what they are made of.

use problem::openapi::{Answers, BODY, DATABASE, DOOR, KEY, SESSION};

/// Open to all.
pub type Public = Answers<{ DOOR | DATABASE }>;

/// Needs a session, and takes neither a body nor a key.
pub type Read = Answers<{ DOOR | DATABASE | SESSION }>;

/// Takes a key and no body.
pub type Act = Answers<{ DOOR | DATABASE | SESSION | KEY }>;

/// Takes a body and a key.
pub type Write = Answers<{ DOOR | DATABASE | SESSION | BODY | KEY }>;

/// For the other processes, and for checkers.
pub type Internal = Answers<{ DATABASE }>;

/// The same with a body.
pub type InternalWrite = Answers<{ DATABASE | BODY }>;
