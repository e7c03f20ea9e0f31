//! A file written over many slices of a job, with at most one part in memory. Between slices, an incomplete part is stored in an
//! object of its own. A repeated slice writes the same parts again; only those in the progress count.

use super::failure::Failure;
use serde::{Deserialize, Serialize};
use undercroft::aws::objects::{Bytes, Objects};
use undercroft::error::Source;
use undercroft::files::rest_key;

/// Bytes of every part except the last. S3 requires at least 5 MiB.
const PART: usize = 8 * 1024 * 1024;
/// Maximum number of parts, whose tags are stored in the job's item. With [`PART`] that is 31 GiB.
const MOST_PARTS: usize = 4_000;

/// The state of a file in the progress of its job.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Grown {
    /// Bytes, including the incomplete part.
    pub bytes: u64,
    upload: Option<String>,
    parts: Vec<String>,
    /// The tag of the object with the incomplete part.
    rest: Option<String>,
    /// Number of slices that stored an incomplete part.
    breaks: u64,
    closed: bool,
}

/// A file during a slice.
#[derive(Debug)]
pub struct Growing<'a> {
    files: &'a Objects,
    job: &'a str,
    key: &'a str,
    content_type: &'static str,
    grown: Grown,
    rest: Vec<u8>,
}

impl<'a> Growing<'a> {
    /// Continues a file from the progress of its job.
    pub async fn open(
        files: &'a Objects,
        job: &'a str,
        key: &'a str,
        content_type: &'static str,
        grown: Grown,
    ) -> Result<Self, Failure> {
        let rest = match &grown.rest {
            None => Vec::new(),
            Some(tag) => {
                let read = files.read(&rest_key(job, grown.breaks), 0..PART as u64, Some(tag)).await;
                read.map_err(of_files)?.ok_or_else(GONE)?
            }
        };
        Ok(Self { files, job, key, content_type, grown, rest })
    }

    /// Bytes so far.
    pub fn bytes(&self) -> u64 {
        self.grown.bytes
    }

    /// Appends at most one part. After an error nothing was appended.
    pub async fn push(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let before = self.rest.len();
        self.rest.extend_from_slice(bytes);
        if self.rest.len() >= PART {
            let behind = self.rest.split_off(PART);
            let part = Bytes::from(std::mem::replace(&mut self.rest, behind));
            if let Err(failure) = self.put_part(part.clone()).await {
                self.rest = part.into();
                self.rest.truncate(before);
                return Err(failure);
            }
        }
        self.grown.bytes += bytes.len() as u64;
        Ok(())
    }

    async fn put_part(&mut self, part: Bytes) -> Result<(), Failure> {
        if self.grown.parts.len() >= MOST_PARTS {
            return Err(Failure::last("The file would be larger than 31 GiB."));
        }
        let upload = match &self.grown.upload {
            Some(upload) => upload.clone(),
            // If the worker dies here, the lifecycle rule of the bucket removes the upload.
            None => self.files.start_upload(self.key, self.content_type).await.map_err(of_files)?,
        };
        self.grown.upload = Some(upload.clone());
        let number = u32::try_from(self.grown.parts.len() + 1).unwrap_or(u32::MAX);
        let tag = self.files.upload_part(self.key, &upload, number, part).await.map_err(of_files)?;
        let tag = tag.ok_or_else(GONE)?;
        self.grown.parts.push(tag.trim_matches('"').to_owned());
        Ok(())
    }

    /// Stores the incomplete part for the next slice.
    pub async fn take_break(mut self) -> Result<Grown, Failure> {
        self.grown.breaks += 1;
        self.grown.rest = None;
        if !self.rest.is_empty() {
            let key = rest_key(self.job, self.grown.breaks);
            let kept = self.files.put(&key, "application/octet-stream", self.rest).await;
            self.grown.rest = Some(kept.map_err(of_files)?);
        }
        Ok(self.grown)
    }

    /// Writes the last part. A file of several parts exists after it is [completed](Grown::complete), which must wait until
    /// [`Growing::grown`] is stored: a completed upload accepts no parts if this slice is repeated. After an error the last
    /// part is kept in memory.
    pub async fn close(&mut self) -> Result<(), Failure> {
        let rest = Bytes::from(std::mem::take(&mut self.rest));
        let written = if self.grown.upload.is_none() {
            self.files.put(self.key, self.content_type, rest.clone()).await.map(drop).map_err(of_files)
        } else if rest.is_empty() {
            Ok(())
        } else {
            self.put_part(rest.clone()).await
        };
        match written {
            Ok(()) => self.grown.closed = true,
            Err(_) => self.rest = rest.into(),
        }
        written
    }

    /// The state of a closed file to store.
    pub fn grown(self) -> Grown {
        self.grown
    }
}

impl Grown {
    /// Whether all parts are written.
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// Whether the file exists without completion.
    pub fn is_whole(&self) -> bool {
        self.closed && self.upload.is_none()
    }

    /// Completes the upload. Repeating it is harmless.
    pub async fn complete(&self, files: &Objects, key: &str) -> Result<(), Failure> {
        let Some(upload) = &self.upload else { return Ok(()) };
        let parts: Vec<(u32, String)> = (1..).zip(self.parts.iter().map(|tag| format!("\"{tag}\""))).collect();
        if files.complete_upload(key, upload, &parts).await.map_err(of_files)? {
            return Ok(());
        }
        // The upload was completed before, or it expired.
        let head = files.head(key).await.map_err(of_files)?;
        match head.filter(|head| head.size == self.bytes) {
            Some(_) => Ok(()),
            None => Err(GONE()),
        }
    }
}

/// The failure if files of earlier slices no longer exist.
pub const GONE: fn() -> Failure =
    || Failure::last("The files this job had written are gone; the bucket keeps them for 7 days. Enqueue a new job.");

/// Logs S3's error and returns a failure that refers to the log.
pub fn of_files(error: Source) -> Failure {
    tracing::warn!(function = "worker", cause = error, "A call to S3 made by a job failed.");
    Failure::new("A call to the bucket failed. The log has the details.")
}
