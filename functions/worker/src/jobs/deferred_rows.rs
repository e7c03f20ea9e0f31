//! The rows of an import that point at a row of the same file which is no record yet. They wait in objects of the bucket, and
//! the next pass goes over them from the last to the first: each pass goes the other way than the one before. So neither
//! parents behind their children nor children behind their parents take many passes.
//!
//! A pass that made no record of any row is the last: no other would, either.

use super::failure::Failure;
use super::multipart_writer::{GONE, of_files};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use undercroft::aws::objects::{Bytes, Objects};
use undercroft::files::waiting_key;

/// Bytes of rows in one object, and in memory.
const PIECE: usize = 1024 * 1024;
/// More than an object can have: a row goes in whole.
const LONGEST: u64 = 64 * 1024 * 1024;

/// A row that waits.
#[derive(Debug, Serialize, Deserialize)]
pub struct Row {
    /// Where it stands in the file.
    pub line: u64,
    /// What is in it.
    pub members: Map<String, Value>,
    /// Why it is no record.
    pub errors: Value,
}

/// What is left of a pass over rows that wait.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct At {
    /// Objects; the last of them is the next to be gone over.
    pieces: u32,
    /// How many rows of that one the pass has behind it.
    taken: usize,
}

/// Who waits: what a job keeps of it in its progress.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Waiting {
    /// Passes that have begun after the first.
    pub again: u32,
    /// Rows that this pass has left for the next.
    rows: u64,
    /// The objects they are in.
    pieces: u32,
    /// What is left of this pass; nothing in the first, which is over the file.
    left: Option<At>,
    /// Whether this pass has made a record of any row.
    pub made: bool,
    /// Whether the last pass made none: what still waits is refused.
    pub given_up: bool,
}

impl Waiting {
    /// Whether the file itself is being gone over.
    pub fn is_first_pass(&self) -> bool {
        self.left.is_none()
    }

    /// Where the present pass is: it changes with every row of a later pass.
    pub fn reached(&self) -> (u32, bool, Option<At>) {
        (self.again, self.given_up, self.left)
    }

    /// Notes how far the present pass has come.
    pub fn goes_on(&mut self, at: At) {
        self.left = Some(at);
    }

    /// The pass whose rows the present one goes over.
    fn earlier(&self) -> u32 {
        if self.given_up { self.again } else { self.again.saturating_sub(1) }
    }
}

/// The rows that wait, while a slice lasts.
#[derive(Debug)]
pub struct Queue<'a> {
    files: &'a Objects,
    job: &'a str,
    /// What is known of them.
    pub waiting: Waiting,
    /// Rows of the next object to be written.
    open: Vec<u8>,
    /// Lines of the object that is being gone over, and which it is.
    lines: Option<(u32, Vec<String>)>,
}

impl<'a> Queue<'a> {
    /// Goes on where the job left it.
    pub fn new(files: &'a Objects, job: &'a str, waiting: Waiting) -> Self {
        Self { files, job, waiting, open: Vec::new(), lines: None }
    }

    /// Lets a row wait for the next pass. Where this fails, it does not.
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

    /// Up to `room` of the rows that the present pass still has to go over, each with where it goes on behind it. None: the
    /// pass is over.
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

    /// The lines of the present object that are left, read if they are not at hand.
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

    /// Ends a pass that is over. Returns whether there is another.
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

    /// What is to be kept for the next slice.
    pub async fn take_break(mut self) -> Result<Waiting, Failure> {
        self.put_piece().await?;
        Ok(self.waiting)
    }

    /// Writes the rows at hand into an object of their own. A slice that is repeated writes the same ones again: only the
    /// progress says which count.
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
