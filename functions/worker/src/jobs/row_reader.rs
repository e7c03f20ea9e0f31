//! A file read row by row, with a piece of it in memory. Rows go over the borders of pieces and slices; where the next one begins
//! is all that has to be remembered. The file must stay the same meanwhile.

use super::failure::Failure;
use super::multipart_writer::of_files;
use serde::{Deserialize, Serialize};
use undercroft::aws::objects::{Head, Objects};
use undercroft::files::Format;

/// Bytes read at once.
const PIECE: u64 = 4 * 1024 * 1024;
/// Bytes of the longest row, its line end included. No record is larger.
const LONGEST: usize = 400 * 1024;
/// What some programs put in front of a text file.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Where the next row begins.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RowPosition {
    /// Bytes before it.
    pub offset: u64,
    /// Lines before it.
    pub line: u64,
    /// Whether it is the rest of a row that is too long, and no row.
    skipping: bool,
}

/// A row, or what stands in the place of one.
#[derive(Debug, PartialEq, Eq)]
pub enum Row {
    /// The bytes of a row that begins on this line, without the line end.
    Bytes(u64, Vec<u8>),
    /// The row that begins on this line is longer than [`LONGEST`].
    TooLong(u64),
    /// Nothing that counts, but it took its time.
    Nothing,
}

/// A file that is being read.
#[derive(Debug)]
pub struct Rows<'a> {
    files: &'a Objects,
    key: &'a str,
    head: &'a Head,
    format: Format,
    place: RowPosition,
    piece: Vec<u8>,
    /// How much of the piece has been taken.
    taken: usize,
}

impl<'a> Rows<'a> {
    /// Rows of the file that `head` tells of, from a place on.
    pub fn new(files: &'a Objects, key: &'a str, head: &'a Head, format: Format, place: RowPosition) -> Self {
        Self { files, key, head, format, place, piece: Vec::new(), taken: 0 }
    }

    /// Where the next row begins.
    pub fn place(&self) -> &RowPosition {
        &self.place
    }

    /// Whether no row is left.
    pub fn is_end(&self) -> bool {
        self.place.offset >= self.head.size
    }

    /// The next row; `None` behind the last.
    pub async fn next(&mut self) -> Result<Option<Row>, Failure> {
        while !self.is_end() {
            let left = self.piece.get(self.taken..).unwrap_or_default();
            let is_end = self.place.offset + left.len() as u64 >= self.head.size;
            if self.place.skipping {
                return self.skip().await.map(Some);
            }
            // A quote that nobody ends takes no more of the file with it than the longest row.
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

    /// Takes the row for what it is: too long.
    fn give_up(&mut self) -> Row {
        let line = self.place.line + 1;
        self.take(LONGEST);
        self.place.skipping = true;
        Row::TooLong(line)
    }

    /// Takes what is left of a row that is too long: up to the next line end, whatever quotes it stands in.
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
        if from == 0 && self.piece.starts_with(BYTE_ORDER_MARK) {
            self.take(BYTE_ORDER_MARK.len());
        }
        Ok(())
    }
}

const CHANGED: fn() -> Failure =
    || Failure::last("The file was replaced or removed during the import. Enqueue a new import.");

/// How many bytes the first row takes, its line end included; `None` where it does not end.
fn length(format: Format, bytes: &[u8]) -> Option<usize> {
    let end = match format {
        Format::Ndjson => bytes.iter().position(|byte| *byte == b'\n'),
        Format::Csv => end_of_csv(bytes),
    };
    end.map(|end| end + 1)
}

/// Where in a row of CSV one is.
#[derive(Clone, Copy, PartialEq)]
enum At {
    CellStart,
    Plain,
    Quoted,
    QuoteInQuoted,
}

/// A line end inside quotes is none. A quote counts where a cell begins with it.
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
