//! Another endpoint: what answers there is used there, and FIFO groups stay closed even where it would not keep them so.
