//! Every bound of a field, once: the schema states them, the compiler holds files to them.
//!
//! Rules may be loosened later, never tightened: an object that was accepted must stay so.

/// Targets of a Route.
pub const TARGETS: usize = 8;
/// Backends of a target.
pub const BACKENDS: usize = 16;
/// Accounts of a Provider.
pub const ACCOUNTS: usize = 64;
/// Models of a Provider's catalogue.
pub const CATALOGUE: usize = 512;
/// Model names or patterns in one list.
pub const MODELS: usize = 64;
/// References of a VirtualKey to Routes.
pub const ROUTE_REFS: usize = 128;
/// Providers whose accounts a VirtualKey narrows.
pub const NARROWINGS: usize = 64;
/// Labels or requirements of a selector, and values of a requirement.
pub const SELECTOR: usize = 64;

/// Characters of any string without a narrower bound.
pub const TEXT: usize = 253;
/// Characters of a name inside an object, of a label value, and of a VirtualKey's name.
pub const NAME: usize = 63;
/// Characters of a label's name: a prefix of 253, a slash, 63.
pub const LABEL_NAME: usize = 317;
/// Characters of a duration: four parts of seven.
pub const DURATION: usize = 28;

/// The largest weight; the smallest is 0.
pub const WEIGHT: i64 = 1_000_000;
/// The most repeats of one backend in a call.
pub const RETRIES: i64 = 10;
/// The most attempts of a call.
pub const ATTEMPTS: i64 = 64;
/// The largest percentage.
pub const PERCENT: i64 = 100;
