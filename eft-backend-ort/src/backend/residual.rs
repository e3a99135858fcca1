//! What a target distribution has more than a draft.
use super::mass::Mass;
use super::net::{Net, Var};

pub(super) fn residual(net: &mut Net, target: Var, draft: Var, width: usize) -> Var {
    let (target, draft) = (Mass::of(net, target, width), Mass::of(net, draft, width));
    let (log_probs, drafted) = (target.log_softmax(net), draft.log_softmax(net));
    let (p, q) = (net.op("Exp", &[log_probs]), net.op("Exp", &[drafted]));
    let more = net.sub(p, q);
    let more = net.op("Relu", &[more]);
    let most = net.max(more);
    let least = net.number(f32::MIN_POSITIVE);
    let is_left = net.at_least(most, least);
    let log = net.op("Log", &[more]);
    let residual = net.choose(is_left, log, log_probs);
    // A comparison with NaN is false, which hid it.
    let poison = [target.poison(net), draft.poison(net)];
    let residual = net.add(residual, poison[0]);
    net.add(residual, poison[1])
}
