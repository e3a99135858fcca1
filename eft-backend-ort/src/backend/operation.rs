//! Which graphs there are, and how each is written down.
use super::net::{Kind, Net, Place, Var};
use super::{edit, filter, linear, mass, pick, pool, residual};

/// What a graph does to the rows it is given. What varies from call to call (weights, temperatures, tokens) are
/// inputs, so that graphs are few.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Operation {
    /// Rows of several tensors, one after another.
    Collect,
    /// To main memory.
    Download,
    Linear(Vec<linear::Weight>),
    LogSoftmax,
    LogNormalizers,
    Power,
    Max,
    Min,
    Filter(filter::Parts),
    Choose {
        outside: bool,
    },
    EditTokens,
    EditMask,
    Residual,
    Top,
    Draw,
    LogProbs,
}

impl Operation {
    /// Writes the graph over rows of `width` columns.
    pub(super) fn write(&self, net: &mut Net, rows: &[Var], width: usize) {
        let result = match self {
            Self::Collect => net.concat(rows),
            Self::Download => return net.output(rows[0], Kind::F32, 2, Place::Host),
            Self::Linear(weights) => linear::linear(net, rows, weights),
            Self::LogSoftmax => mass::log_softmax(net, rows[0], width),
            Self::LogNormalizers => return mass::log_normalizers(net, rows[0], width),
            Self::Power => pool::power(net, rows, width),
            Self::Max => pool::extreme(net, "Max", rows, width),
            Self::Min => pool::extreme(net, "Min", rows, width),
            Self::Filter(parts) => filter::filter(net, rows[0], width, *parts),
            Self::Choose { .. } => edit::choose(net, rows[0], rows[1], rows.get(2).copied()),
            Self::EditTokens => edit::tokens(net, rows[0], width),
            Self::EditMask => edit::mask(net, rows[0], width),
            Self::Residual => residual::residual(net, rows[0], rows[1], width),
            Self::Top => return pick::top(net, rows[0], width),
            Self::Draw => return pick::draw(net, rows[0], width),
            Self::LogProbs => return pick::log_probs(net, rows[0], width),
        };
        net.output(result, Kind::F32, 2, Place::Device);
    }
}
