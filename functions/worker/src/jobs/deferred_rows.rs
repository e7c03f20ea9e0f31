//! Rows of an import that point at a row of the same file without a record yet. They are stored in objects of the bucket, and the
//! next pass processes them from the last to the first; each pass reverses the direction. So a file with parents after their
//! children, or children after their parents, takes few passes.
//!
//! A pass that creates no record is the last one, because a further pass would create none either.

use super::failure::Failure;
use super::multipart_writer::{GONE, of_files};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use undercroft::aws::objects::{Bytes, Objects};
use undercroft::files::waiting_key;

/// Bytes of rows in one object and in memory.
const PIECE: usize = 1024 * 1024;
/// More than the size of an object, because rows are not split.
const LONGEST: u64 = 64 * 1024 * 1024;

/// A row that waits.
#[derive(Debug, Serialize, Deserialize)]
pub struct Row {
    /// Its line in the file.
    pub line: u64,
    /// Its content.
    pub members: Map<String, Value>,
    /// Why no record was created from it.
    pub errors: Value,
}

/// The remaining work of a pass over waiting rows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct At {
    /// Number of objects left; the last one is next.
    pieces: u32,
    /// Number of rows of that object already processed.
    taken: usize,
}

/// The waiting rows, as stored in the progress of the job.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Waiting {
    /// Number of passes started after the first.
    pub again: u32,
    /// Number of rows that this pass deferred to the next.
    rows: u64,
    /// Number of objects with these rows.
    pieces: u32,
    /// The remaining work of this pass; `None` in the first, which reads the file.
    left: Option<At>,
    /// Whether this pass has created a record.
    pub made: bool,
    /// Whether the last pass created none, so that rows still waiting are refused.
    pub given_up: bool,
}

impl Waiting {
    /// Whether this is the pass over the file.
    pub fn is_first_pass(&self) -> bool {
        self.left.is_none()
    }

    /// The position of the current pass; it changes with every row of a later pass.
    pub fn reached(&self) -> (u32, bool, Option<At>) {
        (self.again, self.given_up, self.left)
    }

    /// Stores the position of the current pass.
    pub fn goes_on(&mut self, at: At) {
        self.left = Some(at);
    }

    /// The pass that deferred the rows of the current one.
    fn earlier(&self) -> u32 {
        if self.given_up { self.again } else { self.again.saturating_sub(1) }
    }
}

/// The waiting rows during a slice.
#[derive(Debug)]
pub struct Queue<'a> {
    files: &'a Objects,
    job: &'a str,
    /// Their state in the progress.
    pub waiting: Waiting,
    /// Rows of the next object to write.
    open: Vec<u8>,
    /// The remaining lines of the current object, and its number.
    lines: Option<(u32, Vec<String>)>,
}

impl<'a> Queue<'a> {
    /// Continues from the progress of the job.
    pub fn new(files: &'a Objects, job: &'a str, waiting: Waiting) -> Self {
        Self { files, job, waiting, open: Vec::new(), lines: None }
    }

    /// Defers a row to the next pass. After an error it is not deferred.
    pub async fn keep(&mut self, row: &Row) -> Result<(), Failure> {
        let before = self.open.len();
        serde_json::to_writer(&mut self.open, row).map_err(|error| Failure::new(error.to_string()))?;
        self.open.push(b'\n');
        if self.open.len() >= PIECE
            && let Err(failure) = self.put_piece().await
        {
            self.open.truncate(before);
            return Err(failure);
        }
        self.waiting.rows += 1;
        Ok(())
    }

    /// Returns up to `room` remaining rows of the current pass, each with the position after it. An empty list ends the pass.
    pub async fn next(&mut self, room: usize) -> Result<Vec<(Row, At)>, Failure> {
        let Some(mut at) = self.waiting.left else { return Ok(Vec::new()) };
        while at.pieces > 0 {
            let mut next = Vec::new();
            let lines = self.lines(at).await?;
            while let Some(line) = lines.pop_if(|_| next.len() < room) {
                at.taken += 1;
                next.push((serde_json::from_str(&line).map_err(|error| Failure::new(error.to_string()))?, at));
            }
            if !next.is_empty() {
                return Ok(next);
            }
            at = At { pieces: at.pieces - 1, taken: 0 };
            self.waiting.left = Some(at);
        }
        Ok(Vec::new())
    }

    /// The remaining lines of the current object; reads the object if necessary.
    async fn lines(&mut self, at: At) -> Result<&mut Vec<String>, Failure> {
        let known = self.lines.take().filter(|(piece, _)| *piece == at.pieces);
        let lines = match known {
            Some((_, lines)) => lines,
            None => {
                let key = waiting_key(self.job, self.waiting.earlier(), at.pieces);
                let read = self.files.read(&key, 0..LONGEST, None).await.map_err(of_files)?.ok_or_else(GONE)?;
                let mut lines: Vec<String> = String::from_utf8_lossy(&read).lines().map(str::to_owned).collect();
                lines.truncate(lines.len().saturating_sub(at.taken));
                lines
            }
        };
        Ok(&mut self.lines.insert((at.pieces, lines)).1)
    }

    /// Ends a pass. Returns whether another one follows.
    pub async fn end_pass(&mut self) -> Result<bool, Failure> {
        self.put_piece().await?;
        let Waiting { again, rows, pieces, made, .. } = self.waiting;
        if rows == 0 {
            return Ok(false);
        }
        let left = Some(At { pieces, taken: 0 });
        self.waiting = Waiting { again: again + u32::from(made), left, given_up: !made, ..Waiting::default() };
        self.lines = None;
        Ok(true)
    }

    /// The state to store for the next slice.
    pub async fn take_break(mut self) -> Result<Waiting, Failure> {
        self.put_piece().await?;
        Ok(self.waiting)
    }

    /// Writes the rows in memory into a new object. A repeated slice writes the same objects again; only those in the progress
    /// count.
    async fn put_piece(&mut self) -> Result<(), Failure> {
        if self.open.is_empty() {
            return Ok(());
        }
        let (key, rows) = (self.next_key(), Bytes::from(std::mem::take(&mut self.open)));
        if let Err(error) = self.files.put(&key, "application/x-ndjson", rows.clone()).await {
            self.open = rows.into();
            return Err(of_files(error));
        }
        self.waiting.pieces += 1;
        Ok(())
    }

    /// Objects are numbered from 1.
    fn next_key(&self) -> String {
        waiting_key(self.job, self.waiting.again, self.waiting.pieces + 1)
    }
}
