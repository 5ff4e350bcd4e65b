//! What is done to a log on someone's word, and sealed.
//!
//! - [`Operator`] carries out orders, each in a task of the log's own.
//! - [`OrderSocket`] hears them for a running site; [`give_order`] gives them.
//! - [`SiteLog`] opens a site's log for the site, and for a command on a stopped one.
//! - [`Retaining`] erases what is no longer kept.
//! - [`site_time`] is the time by which is judged what cannot be undone.

pub mod operator;
pub mod site_time;

mod order_socket;
mod retaining;
mod site_log;

pub use operator::{Done, Operator, OperatorError, Order};
pub use order_socket::{GiveOrderError, OrderSocket, give_order, is_there};
pub use retaining::Retaining;
pub use site_log::{SiteLog, SiteLogError};
