//! The structural scanner of JSON. Being written.
