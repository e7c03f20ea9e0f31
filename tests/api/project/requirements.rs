//! `docs/tests-and-requirements.md` names only existing tests.

use std::path::Path;

#[test]
fn the_table_of_requirements_names_existing_tests() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let table = std::fs::read_to_string(root.join("../docs/tests-and-requirements.md")).unwrap();
    let is_name = |word: &&str| {
        word.contains("::")
            && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_:*".contains(&byte))
    };
    let named: Vec<&str> = table.split('`').skip(1).step_by(2).filter(is_name).collect();
    assert!(named.len() > 100, "the table was read: {}", named.len());
    for name in named {
        let (module, test) = name.rsplit_once("::").unwrap();
        let file = root.join("api").join(format!("{}.rs", module.replace("::", "/")));
        let source =
            std::fs::read_to_string(&file).unwrap_or_else(|_| panic!("{name}: there is no {}", file.display()));
        let is_there = source.contains(&format!("fn {}", test.trim_end_matches('*')));
        assert!(is_there, "{name}: no test in {} begins like this", file.display());
    }
    let line = |requirement: &str| {
        table.lines().any(|line| line.starts_with('|') && line.split('|').nth(1).unwrap().contains(requirement))
    };
    for number in
        (1..=3).chain([5, 9, 13, 37, 38]).chain(31..=33).chain(43..=49).chain(61..=68).chain(71..=89).chain(92..=94)
    {
        assert!(line(&format!("R{number}")), "R{number} has no line");
    }
}
