//! Hand-over and resolution.
