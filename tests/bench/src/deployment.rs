//! How long it takes to build and to start. `deploy/test/bench.sh` measures these from outside and
//! hands them over in the environment.

use anyhow::Context;

use crate::table::{Measured, Row};

/// The lines of both.
#[must_use]
pub fn rows() -> [Row; 2] {
    [
        Row::at_most(
            "from built images to a stack that would sell",
            75.0,
            "s",
            handed_over("READY_SECONDS", "all containers and volumes made anew"),
        ),
        Row::at_most(
            "a rebuild after one changed line of `booking`",
            60.0,
            "s",
            handed_over(
                "REBUILD_SECONDS",
                "`docker compose build booking`, the longer of two",
            ),
        ),
    ]
}

/// A time that was measured outside, or what was said instead.
fn handed_over(name: &str, note: &str) -> anyhow::Result<Measured> {
    let text = crate::setting(name)?;
    let value = text
        .parse()
        .map_err(|_| anyhow::anyhow!("{text}"))
        .with_context(|| name.to_owned())?;
    Ok(Measured {
        value,
        note: note.to_owned(),
    })
}
