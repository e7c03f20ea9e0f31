//! Files: imports, exports and the bucket between them.

pub mod bucket;
pub mod files;
