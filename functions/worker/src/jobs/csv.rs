//! Records as rows of CSV (RFC 4180), written and read without loss: text is unchanged, numbers and booleans are as in JSON,
//! everything else is JSON text. An empty cell is an absent field; an empty text is `""`, in quotes.
//!
//! Spreadsheets treat a cell that begins with one of [`FORMULA`] as a formula. With `escapeFormulas` an export puts an apostrophe
//! before such text (OWASP, CSV Injection). An import does not remove it.

use serde_json::Value;
use undercroft::error::FieldError;
use undercroft::expr::{FieldType, Kind};
use undercroft::http::parse_json;
use undercroft::json_pointer;

/// A cell of a row.
#[derive(Debug, PartialEq, Eq)]
pub struct Cell {
    /// Its text, without quotes.
    pub text: String,
    /// Whether it was in quotes.
    pub quoted: bool,
}

/// The cell text for `null`.
const NULL: &str = "null";

/// First characters of text that spreadsheets treat as a formula,
/// including full-width ones, which they convert to narrow ones in Chinese or Japanese locales.
const FORMULA: [char; 12] =
    ['=', '+', '-', '@', '\u{ff1d}', '\u{ff0b}', '\u{ff0d}', '\u{ff20}', '\t', '\r', '\n', '\0'];

/// Writes a row of names.
pub fn write_header(row: &mut Vec<u8>, names: &[String]) {
    write_row(row, names.iter().map(|name| quoted_if_needed(name)));
}

/// Writes a row of values. With `escape_formulas`, spreadsheets treat no text as a formula.
pub fn write_values<'a>(
    row: &mut Vec<u8>,
    values: impl Iterator<Item = (Option<&'a FieldType>, Option<&'a Value>)>,
    escape_formulas: bool,
) {
    write_row(row, values.map(|(field, value)| written(field, value, escape_formulas)));
}

fn write_row(row: &mut Vec<u8>, cells: impl Iterator<Item = String>) {
    let cells: Vec<String> = cells.collect();
    row.extend_from_slice(cells.join(",").as_bytes());
    row.extend_from_slice(b"\r\n");
}

fn written(field: Option<&FieldType>, value: Option<&Value>, escape_formulas: bool) -> String {
    match (value, field) {
        (None, _) => String::new(),
        (Some(Value::Null), _) => NULL.to_owned(),
        (Some(Value::String(text)), Some(field)) if is_text(field) => {
            match escape_formulas && text.starts_with(FORMULA) {
                true => quoted_if_needed(&format!("'{text}")),
                false => quoted_if_needed(text),
            }
        }
        (Some(value), _) => quoted_if_needed(&value.to_string()),
    }
}

fn quoted_if_needed(text: &str) -> String {
    let edge = |char: char| char.is_whitespace() || char == '\u{feff}';
    let plain = !text.is_empty()
        && text != NULL
        && !text.contains([',', '"', '\r', '\n'])
        && !text.starts_with(edge)
        && !text.ends_with(edge);
    if plain { text.to_owned() } else { format!("\"{}\"", text.replace('"', "\"\"")) }
}

fn is_text(field: &FieldType) -> bool {
    matches!(field.kind, Kind::Text | Kind::Moment)
}

/// Reads the value in a cell of this field; `None` if the field is absent.
///
/// # Errors
/// The expected kind of value, at `/name`.
pub fn read_value(name: &str, field: &FieldType, cell: &Cell) -> Result<Option<Value>, FieldError> {
    let text = cell.text.as_str();
    let wrong = |expected: &str| {
        let pointer = format!("/{}", json_pointer::escape(name));
        FieldError::new(pointer, "type", format!("This cell must hold {expected}."))
    };
    if text.is_empty() && !(cell.quoted && is_text(field)) {
        return Ok(None);
    }
    if field.nullable && text == NULL && !cell.quoted {
        return Ok(Some(Value::Null));
    }
    match field.kind {
        Kind::Text | Kind::Moment => Ok(Some(text.into())),
        Kind::Flag if text.eq_ignore_ascii_case("true") => Ok(Some(true.into())),
        Kind::Flag if text.eq_ignore_ascii_case("false") => Ok(Some(false.into())),
        Kind::Flag => Err(wrong("true or false")),
        Kind::Number => match parse_json(text.trim().as_bytes()) {
            Ok(number @ Value::Number(_)) => Ok(Some(number)),
            _ => Err(wrong("a number of at most 38 digits, with a decimal point")),
        },
        Kind::List(_) | Kind::Other => {
            parse_json(text.as_bytes()).map(Some).map_err(|_| wrong("JSON (text in quotes)"))
        }
    }
}

/// The cells of a row.
///
/// # Errors
/// Why the row is malformed.
pub fn cells(row: &str) -> Result<Vec<Cell>, &'static str> {
    let (mut cells, mut rest) = (Vec::new(), row);
    loop {
        let (cell, behind) = first(rest)?;
        cells.push(cell);
        match behind {
            None => return Ok(cells),
            Some(behind) => rest = behind,
        }
    }
}

/// The first cell, and the text after its comma.
fn first(row: &str) -> Result<(Cell, Option<&str>), &'static str> {
    let Some(inside) = row.strip_prefix('"') else {
        let (text, behind) = row.split_once(',').map_or((row, None), |(text, behind)| (text, Some(behind)));
        if text.contains('"') {
            return Err(
                "A cell without quotes contains a quote. Put the cell in quotes and double each quote inside it.",
            );
        }
        return Ok((Cell { text: text.to_owned(), quoted: false }, behind));
    };
    let (mut text, mut rest) = (String::new(), inside);
    loop {
        let (before, behind) = rest.split_once('"').ok_or("A quoted cell has no closing quote.")?;
        text.push_str(before);
        match behind.strip_prefix('"') {
            Some(behind) => {
                text.push('"');
                rest = behind;
            }
            None if behind.is_empty() => return Ok((Cell { text, quoted: true }, None)),
            None => {
                let behind = behind.strip_prefix(',').ok_or("A cell has text after its closing quote.")?;
                return Ok((Cell { text, quoted: true }, Some(behind)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn field(kind: Kind, nullable: bool) -> FieldType {
        FieldType { nullable, ..FieldType::plain(kind) }
    }

    #[test]
    fn a_value_is_read_as_it_was_written() {
        let many = Kind::List(Box::new(Kind::Text));
        for (kind, value) in [
            (Kind::Text, json!("plain")),
            (Kind::Text, json!("")),
            (Kind::Text, json!("null")),
            (Kind::Text, json!(null)),
            (Kind::Text, json!(" a ")),
            (Kind::Text, json!("a,\"b\"\r\nü😀\u{0}")),
            (Kind::Text, json!("=1+1")),
            (Kind::Text, json!("\u{feff}x")),
            (Kind::Moment, json!("2026-03-01T12:00:00.000Z")),
            (Kind::Number, serde_json::from_str("12345678901234567890123456789012345678").expect("a number")),
            (Kind::Number, json!(-1.5)),
            (Kind::Flag, json!(false)),
            (many, json!(["a,b", "\"", "c\nd"])),
            (Kind::Other, json!({ "a": [1, null, { "b": "c" }] })),
            (Kind::Other, json!("text")),
            (Kind::Other, json!("")),
            (Kind::Other, json!(null)),
        ] {
            let field = field(kind, true);
            let mut row = Vec::new();
            write_values(
                &mut row,
                [(Some(&field), None), (Some(&field), Some(&value)), (Some(&field), None)].into_iter(),
                false,
            );
            let row = String::from_utf8(row).expect("text");
            let cells = cells(row.strip_suffix("\r\n").expect("a line end")).expect("cells");
            let read: Vec<_> = cells.iter().map(|cell| read_value("f", &field, cell).expect("a value")).collect();
            assert_eq!(read, [None, Some(value), None], "{row}");
        }
    }

    #[test]
    fn with_escape_formulas_no_text_is_a_spreadsheet_formula() {
        let written = |kind, value: serde_json::Value, escape| {
            let (field, mut row) = (field(kind, true), Vec::new());
            write_values(&mut row, [(Some(&field), Some(&value))].into_iter(), escape);
            String::from_utf8(row).expect("text")
        };
        let full_width = ["\u{ff1d}1+1", "\u{ff0b}1", "\u{ff0d}1", "\u{ff20}SUM(A1)"];
        for text in ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "\0=1"].into_iter().chain(full_width) {
            let cell = written(Kind::Text, json!(text), true);
            assert!(cell.trim_start_matches('"').starts_with('\''), "{cell}");
            assert!(!written(Kind::Text, json!(text), false).contains('\''), "changed only with escapeFormulas");
        }
        for text in ["a=1", "a\u{ff1d}1", ";1"] {
            assert_eq!(written(Kind::Text, json!(text), true), format!("{text}\r\n"));
        }
        assert_eq!(written(Kind::Number, json!(-1.5), true), "-1.5\r\n", "a number is no text");
        assert!(written(Kind::Other, json!("=1"), true).starts_with("\"\"\"="), "JSON begins with its quote");
    }

    #[test]
    fn a_cell_of_the_wrong_type_is_refused_and_names_its_field() {
        for (kind, text) in [
            (Kind::Number, "abc"),
            (Kind::Number, "1,5"),
            (Kind::Number, "\"1\""),
            (Kind::Number, "123456789012345678901234567890123456789"),
            (Kind::Flag, "yes"),
            (Kind::Other, "text"),
            (Kind::List(Box::new(Kind::Text)), "a;b"),
        ] {
            let cell = Cell { text: text.into(), quoted: false };
            let refused = read_value("a/b", &field(kind, false), &cell).expect_err(text);
            assert_eq!((refused.pointer.as_str(), refused.code), ("/a~1b", "type"), "{text}");
        }
        let null = Cell { text: NULL.into(), quoted: false };
        assert_eq!(read_value("f", &field(Kind::Text, false), &null), Ok(Some(json!("null"))));
        let shout = Cell { text: "TRUE".into(), quoted: true };
        assert_eq!(read_value("f", &field(Kind::Flag, false), &shout), Ok(Some(json!(true))));
    }

    #[test]
    fn a_malformed_row_is_refused_with_its_reason() {
        let text = |row: &str| cells(row).map(|cells| cells.into_iter().map(|cell| cell.text).collect::<Vec<_>>());
        assert_eq!(text("a,,\"b,\"\"c\"\"\","), Ok(vec!["a".into(), "".into(), "b,\"c\"".into(), "".into()]));
        for row in ["a\"b", "\"a", "\"a\"b,c", "\"a\" ,b"] {
            assert!(text(row).is_err(), "{row}");
        }
    }
}
