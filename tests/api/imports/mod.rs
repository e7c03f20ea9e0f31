//! Files: imports, exports and the bucket.

pub mod bucket;
pub mod files;
