//! Holds the documents to the code: examples compile, links lead somewhere, and tables list what there is.
//! Must never know what a document should say beyond that.

mod errors;
mod links;
mod markdown;
mod operations;
mod resources;
