//! Orders that a person gives to a log. Each is sealed with the account that gave it.
//!
//! - [`order`] lists the orders; [`Operator`] carries them out, each in a task that the log owns.
//! - [`OrderSocket`] receives orders for a running site; [`give_order`] sends them.
//! - [`polling`] is what programs may order, over NATS and HTTP.
//! - [`importing`] seals the history of another log.
//! - [`SiteLog`] opens a site's log, for the site and for a command on a stopped one.
//! - [`apps`] says which components a site runs.
//! - [`Retaining`] erases envelopes whose retention period is over.
//! - [`site_time`] is the clock that decides about acts that cannot be undone.

pub mod apps;
pub mod importing;
pub mod log_name;
pub mod operator;
pub mod order;
pub mod polling;
pub mod site_time;

mod credentials;
mod hosts;
mod order_socket;
mod retaining;
mod site_log;
mod tokens;

pub use apps::Apps;
pub use credentials::CredentialOrderError;
pub use hosts::HostOrderError;
pub use log_name::LogName;
pub use operator::{Operator, OperatorError, Polls};
pub use order::{AddressedOrder, Done, Order};
pub use order_socket::{GiveOrderError, OrderSocket, give_order, is_there};
pub use retaining::Retaining;
pub use site_log::{SiteLog, SiteLogError};
pub use tokens::{TokenOrderError, token_event};
