//! Every kind of problem that an address may answer with has a page, and every page has a kind.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Where kinds of problems are named in code: the first short name after one of these.
const MAKERS: [&str; 3] = ["Problem::new(", "Problem::conflict(", "Self::new("];

fn files_below(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for path in std::fs::read_dir(folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .flatten()
        .map(|entry| entry.path())
    {
        if path.is_dir() && !path.ends_with("target") && !path.ends_with("tests") {
            found.extend(files_below(&path, extension));
        } else if path.extension().is_some_and(|is| is == extension) {
            found.push(path);
        }
    }
    found
}

fn text_of(folder: &Path, extension: &str) -> Vec<String> {
    files_below(folder, extension)
        .iter()
        .map(|path| {
            std::fs::read_to_string(path)
                .unwrap_or_else(|error| panic!("{}: {error}", path.display()))
        })
        .collect()
}

/// A kind's name: words of small letters with hyphens between them.
fn is_kind(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte == b'-')
}

fn kinds_in_code(code: &str) -> BTreeSet<String> {
    let mut kinds = BTreeSet::new();
    for maker in MAKERS {
        for after in code.split(maker).skip(1) {
            // Before the next statement; the title and the detail are no kinds.
            let call = after.split(';').next().unwrap_or_default();
            kinds.extend(
                call.split('"')
                    .skip(1)
                    .step_by(2)
                    .take(1)
                    .filter(|text| is_kind(text))
                    .map(str::to_owned),
            );
        }
    }
    kinds
}

fn kinds_of_nginx(configuration: &str) -> BTreeSet<String> {
    configuration
        .split("\"/problems/")
        .skip(1)
        .filter_map(|after| after.split('"').next())
        .filter(|kind| is_kind(kind))
        .map(str::to_owned)
        .collect()
}

#[test]
fn every_kind_of_problem_has_a_page_and_every_page_a_kind() {
    let root = super::repository();
    let mut code = text_of(&root.join("services"), "rs");
    code.extend(text_of(&root.join("crates"), "rs"));
    let nginx = text_of(&root.join("deploy/nginx"), "conf");
    let kinds: BTreeSet<String> = code
        .iter()
        .flat_map(|text| kinds_in_code(text))
        .chain(nginx.iter().flat_map(|text| kinds_of_nginx(text)))
        .collect();
    let pages: BTreeSet<String> = files_below(&root.join("docs/problems"), "md")
        .iter()
        .filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned()))
        .collect();
    let missing: Vec<_> = kinds.difference(&pages).collect();
    assert!(
        missing.is_empty(),
        "no page under docs/problems for {missing:?}"
    );
    let everything = code.concat();
    let orphans: Vec<_> = pages
        .difference(&kinds)
        .filter(|page| !everything.contains(&format!("\"{page}\"")))
        .collect();
    assert!(
        orphans.is_empty(),
        "nothing answers with {orphans:?} any more"
    );
}

#[test]
fn kinds_are_found_where_they_are_named() {
    let code = r#"
        return Err(Problem::conflict("sold-out", "Sold out", "no seats"));
        Problem::new(
            StatusCode::CONFLICT,
            "busy",
            "Others are at it",
        ).field("x");
        Problem::conflict(BUSY, "Others are at these seats", "");
    "#;
    assert_eq!(
        kinds_in_code(code),
        BTreeSet::from(["busy".to_owned(), "sold-out".to_owned()])
    );
    let nginx = r#"return 429 '{"type":"/problems/too-many-requests","title":""}';"#;
    assert_eq!(
        kinds_of_nginx(nginx),
        BTreeSet::from(["too-many-requests".to_owned()])
    );
}
