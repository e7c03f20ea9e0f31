//! Parses `expand` to a tree of names: `author.company,comments_via_post:5`. The names are not resolved yet.

use crate::expr::ExprError;

/// The member of a record that contains its expanded records.
pub const EXPANDED: &str = "expanded";
/// Maximum number of paths in one `expand`.
pub const MAX_PATHS: usize = 8;
/// Maximum number of relations in a path.
pub const MAX_DEPTH: usize = 2;
/// Maximum number of records of one back-relation.
pub const MAX_BACK: usize = 20;
/// Default number of records of one back-relation.
pub const BACK: usize = 10;

/// A requested relation, and what to expand of the records it leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Term {
    /// The relation: a field's name, or `collection_via_field`.
    pub name: String,
    /// The column where it is first named, from 1.
    pub column: usize,
    /// The requested number of records, if given.
    pub limit: Option<usize>,
    /// What to expand of those records.
    pub under: Vec<Term>,
}

/// Reads `expand=author,comments_via_post:5,author.company`. A path includes its prefixes.
///
/// # Errors
/// What is wrong, and the column.
pub fn parse(text: &str) -> Result<Vec<Term>, ExprError> {
    let mut terms = Vec::new();
    let mut ended: Vec<&str> = Vec::new();
    for (column, path) in pieces(text, ',', 1) {
        let start = column + path.chars().take_while(|char| *char == ' ').count();
        let path = path.trim_matches(' ');
        if ended.len() == MAX_PATHS {
            return Err(ExprError::at(start, format!("expand has at most {MAX_PATHS} paths; leave some out.")));
        }
        if ended.contains(&path) {
            return Err(ExprError::at(start, format!("`{}` is named twice; name it once.", shown(path))));
        }
        ended.push(path);
        let steps: Vec<(usize, &str)> = pieces(path, '.', start).collect();
        if let Some((column, _)) = steps.get(MAX_DEPTH) {
            return Err(ExprError::at(*column, format!("A path follows at most {MAX_DEPTH} relations; shorten it.")));
        }
        grow(&mut terms, &steps)?;
    }
    Ok(terms)
}

/// Adds a path to the tree, reusing its existing prefix.
fn grow(terms: &mut Vec<Term>, steps: &[(usize, &str)]) -> Result<(), ExprError> {
    let Some(((column, step), rest)) = steps.split_first() else { return Ok(()) };
    let (name, limit) = step_of(*column, step)?;
    let at = match terms.iter().position(|term| term.name == name) {
        Some(at) => at,
        None => {
            terms.push(Term { name: name.to_owned(), column: *column, limit, under: Vec::new() });
            terms.len() - 1
        }
    };
    let Some(term) = terms.get_mut(at) else { return Ok(()) };
    match (term.limit, limit) {
        (Some(first), Some(second)) if first != second => {
            return Err(ExprError::at(*column, format!("`{name}` has two limits, {first} and {second}; send one.")));
        }
        (None, Some(_)) => term.limit = limit,
        _ => {}
    }
    grow(&mut term.under, rest)
}

/// A name and its limit.
fn step_of(column: usize, step: &str) -> Result<(&str, Option<usize>), ExprError> {
    let (name, limit) = step.split_once(':').map_or((step, None), |(name, limit)| (name, Some(limit)));
    let plain = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if !plain {
        let message = "A relation's name was expected here; send a field or collection_via_field.";
        return Err(ExprError::at(column, message));
    }
    let Some(limit) = limit else { return Ok((name, None)) };
    let digits = limit.bytes().all(|byte| byte.is_ascii_digit());
    match limit.parse::<usize>() {
        Ok(limit) if digits && (1..=MAX_BACK).contains(&limit) => Ok((name, Some(limit))),
        _ => {
            let column = column + name.chars().count() + 1;
            Err(ExprError::at(column, format!("A limit must be a number from 1 to {MAX_BACK}.")))
        }
    }
}

/// The pieces between separators, each with its starting column.
fn pieces(text: &str, separator: char, start: usize) -> impl Iterator<Item = (usize, &str)> {
    text.split(separator).scan(start, |column, piece| {
        let at = *column;
        *column += piece.chars().count() + 1;
        Some((at, piece))
    })
}

/// Client text, escaped and shortened for an error message.
pub fn shown(name: &str) -> String {
    name.chars().take(64).collect::<String>().escape_default().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn term(name: &str, column: usize, limit: Option<usize>, under: Vec<Term>) -> Term {
        Term { name: name.to_owned(), column, limit, under }
    }

    #[test]
    fn paths_with_a_common_prefix_share_one_branch() {
        let company = term("company", 30, None, vec![]);
        assert_eq!(
            parse("author, comments_via_post:5.by,author.company"),
            Ok(vec![
                term("author", 1, None, vec![Term { column: 39, ..company }]),
                term("comments_via_post", 9, Some(5), vec![term("by", 29, None, vec![])]),
            ])
        );
        assert_eq!(parse("a.b,a:3"), Ok(vec![term("a", 1, Some(3), vec![term("b", 3, None, vec![])])]));
    }

    #[test]
    fn errors_name_their_column() {
        for (text, column, says) in [
            ("", 1, "name was expected"),
            ("a,,b", 3, "name was expected"),
            ("a,", 3, "name was expected"),
            ("a.", 3, "name was expected"),
            (".a", 1, "name was expected"),
            ("a b", 1, "name was expected"),
            ("ü", 1, "name was expected"),
            ("a,b.c.d", 7, "at most 2 relations"),
            ("a,b,a", 5, "named twice"),
            ("a.b, a.b", 6, "named twice"),
            ("a:0", 3, "from 1 to 20"),
            ("a,b:21", 5, "from 1 to 20"),
            ("a:", 3, "from 1 to 20"),
            ("a:+1", 3, "from 1 to 20"),
            ("a:1:2", 3, "from 1 to 20"),
            ("a:99999999999999999999999", 3, "from 1 to 20"),
            ("a:1,a:2.b", 5, "two limits"),
            ("a,b,c,d,e,f,g,h,i", 17, "at most 8 paths"),
            ("a,*", 3, "name was expected"),
        ] {
            let error = parse(text).expect_err(text);
            assert_eq!(error.column, column, "{text}: {error}");
            assert!(error.message.contains(says), "{text}: {error}");
        }
    }
}
