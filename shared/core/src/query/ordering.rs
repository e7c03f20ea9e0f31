//! The `sort` and `fields` parameters: lists of visible fields, validated on input.

use serde::{Deserialize, Serialize};

use crate::expr::{ExprError, FieldTypes};

/// Maximum number of fields in a `sort`.
pub const MAX_SORT_FIELDS: usize = 5;

/// A sort field, written `-field` for descending.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct SortField {
    /// The field.
    pub field: String,
    /// Whether the order is descending.
    pub descending: bool,
}

impl SortField {
    /// Ascending.
    pub fn ascending(field: &str) -> Self {
        Self { field: field.to_owned(), descending: false }
    }
}

impl From<String> for SortField {
    fn from(text: String) -> Self {
        match text.strip_prefix('-') {
            Some(field) => Self { field: field.to_owned(), descending: true },
            None => Self { field: text, descending: false },
        }
    }
}

impl From<SortField> for String {
    fn from(sort: SortField) -> Self {
        sort.to_string()
    }
}

impl std::fmt::Display for SortField {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}{}", if self.descending { "-" } else { "" }, self.field)
    }
}

/// The order before the id, and whether it is read forward: every index ends in the ascending id, so an order that ends in the
/// descending id is that of an index read backward.
pub(super) fn without_id(order: &[SortField]) -> (Vec<SortField>, bool) {
    let mut before: Vec<SortField> = order.iter().take_while(|by| by.field != "id").cloned().collect();
    let forward = order.get(before.len()).is_none_or(|id| !id.descending);
    if !forward {
        before.iter_mut().for_each(|by| by.descending = !by.descending);
    }
    (before, forward)
}

/// Reads `sort=status,-createdAt`.
///
/// # Errors
/// What is wrong, and the column. A hidden field is refused like a missing one.
pub fn parse_sort(text: &str, fields: &FieldTypes) -> Result<Vec<SortField>, ExprError> {
    let mut sort: Vec<SortField> = Vec::new();
    for (column, name) in names(text)? {
        let wanted = SortField::from(name.to_owned());
        let field = fields.visible(&wanted.field).ok_or_else(|| unknown(column, &wanted.field))?;
        if !field.kind.is_scalar() {
            return Err(ExprError::at(
                column,
                format!("`{}` is {} and cannot be sorted.", wanted.field, field.kind.name()),
            ));
        }
        if sort.iter().any(|earlier| earlier.field == wanted.field) {
            return Err(ExprError::at(column, format!("`{}` is named twice; name it once.", wanted.field)));
        }
        if sort.len() == MAX_SORT_FIELDS {
            return Err(ExprError::at(column, format!("A sort names at most {MAX_SORT_FIELDS} fields; send fewer.")));
        }
        sort.push(wanted);
    }
    Ok(sort)
}

/// Reads `fields=id,title`.
///
/// # Errors
/// What is wrong, and the column. A hidden field is refused like a missing one.
pub fn parse_fields(text: &str, fields: &FieldTypes) -> Result<Vec<String>, ExprError> {
    let mut wanted: Vec<String> = Vec::new();
    for (column, name) in names(text)? {
        fields.visible(name).ok_or_else(|| unknown(column, name))?;
        if wanted.iter().any(|earlier| earlier == name) {
            return Err(ExprError::at(column, format!("`{name}` is named twice; name it once.")));
        }
        wanted.push(name.to_owned());
    }
    Ok(wanted)
}

/// The names between commas, each with its column. Spaces around them are ignored.
fn names(text: &str) -> Result<Vec<(usize, &str)>, ExprError> {
    let mut names = Vec::new();
    let mut column = 1;
    for part in text.split(',') {
        let start = column + part.chars().take_while(|char| *char == ' ').count();
        match part.trim_matches(' ') {
            "" => return Err(ExprError::at(start, "A field name was expected here.")),
            name => names.push((start, name)),
        }
        column += part.chars().count() + 1;
    }
    Ok(names)
}

fn unknown(column: usize, name: &str) -> ExprError {
    let shown: String = name.chars().take(64).collect();
    ExprError::at(column, format!("There is no field `{}`.", shown.escape_default()))
}
