//! `sealwire token`: creates, lists and revokes the tokens of programs that use the log port.

use orders::order::Order;

use crate::cli::{Actor, TokenOrder};

impl From<TokenOrder> for Order {
    fn from(order: TokenOrder) -> Self {
        match order {
            TokenOrder::Create { name, scope, nats, actor: Actor { actor } } => {
                Self::CreateToken { name, scope, nats, actor }
            }
            TokenOrder::List => Self::Tokens,
            TokenOrder::Revoke { name, actor: Actor { actor } } => {
                Self::RevokeToken { name, actor }
            }
        }
    }
}
