//! What a service manager, and a second sensor, learn of this one.

mod lock;
mod notify;

pub(crate) use lock::acquire as lock;
pub(crate) use notify::Notifier;
