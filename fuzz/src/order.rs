//! Orders on a site's socket: what is taken for an order is the same order when it is given again.

use orders::Order;
use serde_json::Value;

pub(crate) fn run(bytes: &[u8]) {
    let Ok(order) = serde_json::from_slice::<Order>(bytes) else { return };
    let given: Value = serde_json::to_value(&order).unwrap();
    let again: Order = serde_json::from_value(given.clone()).unwrap();
    assert_eq!(serde_json::to_value(&again).unwrap(), given);
    if let Order::Erase { leaves, .. } = order {
        let end = leaves.end();
        assert!(!leaves.is_empty() && leaves.contains(end - 1) && !leaves.contains(end));
        assert!(leaves.count() <= end);
    }
}
