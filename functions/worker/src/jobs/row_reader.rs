//! Reads a file row by row, with one piece of it in memory. Rows may cross the borders of pieces and slices; only the start
//! of the next row is stored. The file must not change meanwhile.

use super::failure::Failure;
use super::multipart_writer::of_files;
use serde::{Deserialize, Serialize};
use undercroft::aws::objects::{Head, Objects};
use undercroft::files::Format;

/// Bytes read at once.
const PIECE: u64 = 4 * 1024 * 1024;
/// Maximum bytes of a row, including its line end. No record is larger.
const LONGEST: usize = 400 * 1024;
/// The byte order mark that some programs put before a text.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// The start of the next row.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RowPosition {
    /// Bytes before it.
    pub offset: u64,
    /// Lines before it.
    pub line: u64,
    /// Whether the rest of a too long row must be skipped first.
    skipping: bool,
}

/// A row, or a replacement for one.
#[derive(Debug, PartialEq, Eq)]
pub enum Row {
    /// The bytes of a row that begins on this line, without the line end.
    Bytes(u64, Vec<u8>),
    /// The row that begins on this line is longer than [`LONGEST`].
    TooLong(u64),
    /// An empty or skipped line.
    Nothing,
}

/// A file during a slice.
#[derive(Debug)]
pub struct Rows<'a> {
    files: &'a Objects,
    key: &'a str,
    head: &'a Head,
    format: Format,
    place: RowPosition,
    piece: Vec<u8>,
    /// Number of bytes of the piece already read.
    taken: usize,
}

impl<'a> Rows<'a> {
    /// Rows of the file described by `head`, from a position on.
    pub fn new(files: &'a Objects, key: &'a str, head: &'a Head, format: Format, place: RowPosition) -> Self {
        Self { files, key, head, format, place, piece: Vec::new(), taken: 0 }
    }

    /// The start of the next row.
    pub fn place(&self) -> &RowPosition {
        &self.place
    }

    /// Whether no row is left.
    pub fn is_end(&self) -> bool {
        self.place.offset >= self.head.size
    }

    /// The next row; `None` after the last.
    pub async fn next(&mut self) -> Result<Option<Row>, Failure> {
        while !self.is_end() {
            let left = self.piece.get(self.taken..).unwrap_or_default();
            let is_end = self.place.offset + left.len() as u64 >= self.head.size;
            if self.place.skipping {
                return self.skip().await.map(Some);
            }
            // An unclosed quote consumes at most the length of the longest row.
            match left.get(..LONGEST) {
                Some(longest) => match length(self.format, longest) {
                    Some(length) => return Ok(Some(self.take_row(length))),
                    None => return Ok(Some(self.give_up())),
                },
                None => match length(self.format, left).or(is_end.then_some(left.len())) {
                    Some(length) => return Ok(Some(self.take_row(length))),
                    None => self.read_on().await?,
                },
            }
        }
        Ok(None)
    }

    /// Returns the row as too long.
    fn give_up(&mut self) -> Row {
        let line = self.place.line + 1;
        self.take(LONGEST);
        self.place.skipping = true;
        Row::TooLong(line)
    }

    /// Skips the rest of a too long row, up to the next line end, inside quotes or not.
    async fn skip(&mut self) -> Result<Row, Failure> {
        if self.taken >= self.piece.len() {
            self.read_on().await?;
        }
        let left = self.piece.get(self.taken..).unwrap_or_default();
        let end = left.iter().position(|byte| *byte == b'\n');
        let length = end.map_or(left.len(), |end| end + 1);
        self.place.skipping = end.is_none();
        self.take(length);
        Ok(Row::Nothing)
    }

    fn take_row(&mut self, length: usize) -> Row {
        let line = self.place.line + 1;
        let row = self.take(length);
        let row = row.strip_suffix(b"\n").unwrap_or(row);
        let row = row.strip_suffix(b"\r").unwrap_or(row);
        if row.iter().all(u8::is_ascii_whitespace) { Row::Nothing } else { Row::Bytes(line, row.to_vec()) }
    }

    fn take(&mut self, length: usize) -> &[u8] {
        let taken = self.piece.get(self.taken..self.taken + length).unwrap_or_default();
        self.place.offset += length as u64;
        self.place.line += taken.iter().filter(|byte| **byte == b'\n').count() as u64;
        self.taken += length;
        taken
    }

    /// Reads the piece that begins with the next row.
    async fn read_on(&mut self) -> Result<(), Failure> {
        let from = self.place.offset;
        self.piece = match self.files.read(self.key, from..from + PIECE, Some(&self.head.etag)).await {
            Ok(Some(piece)) if !piece.is_empty() => piece,
            Ok(_) => return Err(CHANGED()),
            Err(error) => {
                let now = self.files.head(self.key).await.map_err(of_files)?;
                return Err(if now.as_ref() == Some(self.head) { of_files(error) } else { CHANGED() });
            }
        };
        self.taken = 0;
        if let (0, Some(what)) = (from, not_text(&self.piece)) {
            return Err(Failure::last(format!(
                "The file is {what}, not text in UTF-8. Save it as UTF-8 and import that."
            )));
        }
        if from == 0 && self.piece.starts_with(BYTE_ORDER_MARK) {
            self.take(BYTE_ORDER_MARK.len());
        }
        Ok(())
    }
}

const CHANGED: fn() -> Failure =
    || Failure::last("The file was replaced or removed during the import. Enqueue a new import.");

/// What a file is by its first bytes, if it is not text in UTF-8.
fn not_text(bytes: &[u8]) -> Option<&'static str> {
    match bytes {
        [0, 0, 0xfe, 0xff, ..] | [0xff, 0xfe, 0, 0, ..] => Some("in UTF-32"),
        [0xfe, 0xff, ..] | [0xff, 0xfe, ..] => Some("in UTF-16"),
        // The first characters of a header or of JSON are ASCII, of which UTF-16 makes every second byte zero.
        [0, 1..=255, 0, 1..=255, ..] | [1..=255, 0, 1..=255, 0, ..] => Some("in UTF-16"),
        [b'P', b'K', 3, 4, ..] => Some("a ZIP archive, as spreadsheets are"),
        [0x1f, 0x8b, ..] => Some("compressed by gzip"),
        _ => None,
    }
}

/// Bytes of the first row, including its line end; `None` if it has no end.
fn length(format: Format, bytes: &[u8]) -> Option<usize> {
    let end = match format {
        Format::Ndjson => bytes.iter().position(|byte| *byte == b'\n'),
        Format::Csv => end_of_csv(bytes),
    };
    end.map(|end| end + 1)
}

/// The position within a row of CSV.
#[derive(Clone, Copy, PartialEq)]
enum At {
    CellStart,
    Plain,
    Quoted,
    QuoteInQuoted,
}

/// A line end inside quotes does not end the row. Only a quote at the start of a cell opens quotes.
fn end_of_csv(bytes: &[u8]) -> Option<usize> {
    let mut at = At::CellStart;
    for (position, byte) in bytes.iter().enumerate() {
        at = match (at, byte) {
            (At::CellStart | At::Plain | At::QuoteInQuoted, b'\n') => return Some(position),
            (At::CellStart, b'"') | (At::QuoteInQuoted, b'"') => At::Quoted,
            (At::Quoted, b'"') => At::QuoteInQuoted,
            (At::Quoted, _) => At::Quoted,
            (_, b',') => At::CellStart,
            _ => At::Plain,
        };
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_no_utf_8_is_recognised() {
        let utf_16 = |text: &str, order: fn(u16) -> [u8; 2]| text.encode_utf16().flat_map(order).collect::<Vec<u8>>();
        for (bytes, what) in [
            (utf_16("\u{feff}title,n\r\n", u16::to_le_bytes), Some("in UTF-16")),
            (utf_16("\u{feff}title,n\r\n", u16::to_be_bytes), Some("in UTF-16")),
            (utf_16("{\"title\":1}", u16::to_le_bytes), Some("in UTF-16")),
            (utf_16("title", u16::to_be_bytes), Some("in UTF-16")),
            ("\u{feff}title".chars().flat_map(|char| u32::from(char).to_le_bytes()).collect(), Some("in UTF-32")),
            (b"PK\x03\x04".to_vec(), Some("a ZIP archive, as spreadsheets are")),
            (b"\x1f\x8b\x08".to_vec(), Some("compressed by gzip")),
            (b"\xef\xbb\xbftitle".to_vec(), None),
            (b"title,n".to_vec(), None),
            ("größe".as_bytes().to_vec(), None),
            (b"a".to_vec(), None),
            (Vec::new(), None),
        ] {
            assert_eq!(not_text(&bytes), what, "{bytes:?}");
        }
    }

    #[test]
    fn a_row_ends_at_a_line_end_outside_quotes() {
        for (text, csv, ndjson) in [
            ("a,b\nc", Some(4), Some(4)),
            ("\"a\nb\",c\r\nd", Some(9), Some(3)),
            ("\"a\"\"\n\"\n", Some(7), Some(5)),
            ("a\"b\nc\"\n", Some(4), Some(4)),
            ("a,\"\n\"\n", Some(6), Some(4)),
            ("\"a\" b\nc", Some(6), Some(6)),
            ("\"a\n", None, Some(3)),
            ("a", None, None),
            ("", None, None),
        ] {
            assert_eq!(length(Format::Csv, text.as_bytes()), csv, "{text:?}");
            assert_eq!(length(Format::Ndjson, text.as_bytes()), ndjson, "{text:?}");
        }
    }
}
