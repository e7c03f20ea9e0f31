//! Lists in header fields, whose separators may also stand in quoted strings (RFC 9110 section 5.6.4).

/// The parts of a field between the separators that are not in a quoted string.
pub fn split(field: &[u8], separator: u8) -> impl Iterator<Item = &[u8]> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    field.split(move |byte| {
        let was_escaped = std::mem::take(&mut is_escaped);
        match byte {
            b'"' if !was_escaped => is_quoted = !is_quoted,
            b'\\' => is_escaped = is_quoted && !was_escaped,
            _ => {}
        }
        *byte == separator && !is_quoted
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_separator_in_quotes_does_not_separate() {
        let parts = |field: &'static str| -> Vec<&str> {
            super::split(field.as_bytes(), b',').map(|part| std::str::from_utf8(part).unwrap()).collect()
        };
        assert_eq!(parts("a, b"), ["a", " b"]);
        assert_eq!(parts("\"a,b\""), ["\"a,b\""]);
        assert_eq!(parts("\"a\",\"b\""), ["\"a\"", "\"b\""]);
        assert_eq!(parts(r#""a\",b",c"#), [r#""a\",b""#, "c"]);
        assert_eq!(parts(r#""a\\",b"#), [r#""a\\""#, "b"]);
        assert_eq!(parts(r"a\,b"), [r"a\", "b"]);
        assert_eq!(parts(""), [""]);
    }
}
