//! The programs that a control runs. They are compiled beside the tests
//! (`deploy/test/programs.sh`, `deploy/test/controls.sh`).

use std::path::{Path, PathBuf};

/// The programs of the tree as it is.
const AS_IT_IS: &str = "/programs";

/// A folder a control, with the programs that its patch changes.
const PATCHED: &str = "/controls";

/// Folders with programs; one in an earlier folder goes before one in a later.
#[derive(Clone, Debug)]
pub struct Programs(Vec<PathBuf>);

impl Programs {
    /// Those of the tree as it is.
    pub fn as_it_is() -> Self {
        Self(vec![AS_IT_IS.into()])
    }

    /// Those that `patches/<name>.patch` changes, and the others as they are.
    pub fn patched(name: &str) -> Self {
        Self(vec![Path::new(PATCHED).join(name), AS_IT_IS.into()])
    }

    /// Where a program is.
    pub fn path(&self, program: &str) -> PathBuf {
        let mut places = self.0.iter().map(|folder| folder.join(program));
        places
            .find(|place| place.exists())
            .unwrap_or_else(|| program.into())
    }
}
