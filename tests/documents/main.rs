//! Holds the documents to the code: examples compile, links lead somewhere, and tables list what there is.
//! Must never know what a document should say beyond that.

// The whole target is tests; saying so lets the lints know.
#[cfg(test)]
mod errors;
#[cfg(test)]
mod links;
#[cfg(test)]
mod markdown;
#[cfg(test)]
mod operations;
#[cfg(test)]
mod resources;
