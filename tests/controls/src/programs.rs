//! The programs that a control runs. They are compiled beside the tests
//! (`deploy/test/programs.sh`, `deploy/test/controls.sh`).

use std::path::{Path, PathBuf};

/// The programs of the tree as it is.
const AS_IT_IS: &str = "/programs";

/// A folder a control, with the programs that its patch changes.
const PATCHED: &str = "/controls";

/// The programs of a system: patched ones where the control has them, and the tree's own.
#[derive(Clone, Debug)]
pub struct Programs(Option<PathBuf>);

impl Programs {
    /// Those of the tree as it is.
    pub fn as_it_is() -> Self {
        Self(None)
    }

    /// Those that `patches/<name>.patch` changes, and the others as they are.
    pub fn patched(name: &str) -> Self {
        let folder = Path::new(PATCHED).join(name);
        assert!(folder.is_dir(), "{} is missing", folder.display());
        Self(Some(folder))
    }

    /// Where a program is.
    pub fn path(&self, program: &str) -> PathBuf {
        let patched = self.0.as_ref().map(|folder| folder.join(program));
        patched
            .filter(|path| path.exists())
            .unwrap_or_else(|| Path::new(AS_IT_IS).join(program))
    }
}
