//! [`Told`]: the log-probabilities that a server has told about one position, checked.
use eft_core::TokenId;

/// By how much the probabilities of a position may exceed 1 in sum: engines round, and compute in half precision.
const EXCESS: f64 = 1e-2;

/// What was asked about one position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted<'a> {
    /// The log-probs of all tokens.
    Whole,
    /// Those of the `k` likeliest tokens.
    Top(usize),
    /// Those of these tokens.
    Named(&'a [TokenId]),
}

/// An answer about one position, before it is checked.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Entries {
    /// Ids with their log-probs.
    pub(crate) known: Vec<(TokenId, f32)>,
    /// The largest log-prob of a token whose id the answer does not give away; −∞ if there is none.
    pub(crate) nameless: f32,
}

impl From<Vec<(TokenId, f32)>> for Entries {
    fn from(known: Vec<(TokenId, f32)>) -> Self {
        Self { known, nameless: f32::NEG_INFINITY }
    }
}

/// The log-probabilities that a server has told about one position.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Told {
    /// Distinct ids with their log-probs.
    entries: Vec<(TokenId, f32)>,
    /// No token that is not told has a higher log-prob.
    ceiling: f32,
    /// The probability of the tokens that are told.
    mass: f64,
}

impl Told {
    /// Checks what a server has told in answer to `wanted`. Ids must be below `width`; `real` ids stand for tokens.
    /// Errors describe the fault.
    pub(crate) fn new(
        entries: impl Into<Entries>,
        wanted: Wanted<'_>,
        width: usize,
        real: usize,
    ) -> Result<Self, String> {
        let Entries { known: mut entries, nameless } = entries.into();
        if wanted == Wanted::Whole {
            // A server's rows may be padded further than those here.
            entries.retain(|(id, _)| (*id as usize) < width);
        }
        for (id, log_prob) in &entries {
            if *id as usize >= width {
                return Err(format!("it tells of token id {id}, but ids are below {width} here"));
            }
            if log_prob.is_nan() || *log_prob > EXCESS as f32 {
                return Err(format!("the log-prob of token id {id} is {log_prob}"));
            }
        }
        entries.sort_unstable_by_key(|(id, _)| *id);
        if let Some(pair) = entries.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            return Err(format!("it tells of token id {} twice", pair[0].0));
        }
        let mass: f64 = entries.iter().map(|(_, log_prob)| f64::from(*log_prob).exp()).sum();
        if mass > 1.0 + EXCESS {
            return Err(format!("the probabilities of its {} tokens add up to {mass:.3}", entries.len()));
        }
        let least = entries.iter().map(|(_, log_prob)| *log_prob).fold(0.0, f32::min);
        let ceiling = match wanted {
            Wanted::Whole => match (0..).zip(&entries).take(real).find(|(id, entry)| *id != entry.0) {
                Some((id, _)) => return Err(missing(id, real)),
                None if entries.len() < real => return Err(missing(entries.len() as TokenId, real)),
                None => f32::NEG_INFINITY,
            },
            Wanted::Top(_) if entries.is_empty() => {
                return Err("it tells of no token that is known here".into());
            }
            Wanted::Top(_) => least.max(nameless),
            Wanted::Named(ids) => {
                let told = |id: &TokenId| entries.binary_search_by_key(id, |(id, _)| *id).is_ok();
                match ids.iter().find(|id| !told(id)) {
                    Some(id) => return Err(format!("it does not tell of token id {id}, which was named")),
                    None => 0.0,
                }
            }
        };
        Ok(Self { entries, ceiling, mass })
    }

    /// The ids in ascending order, with their log-probs.
    pub(crate) fn entries(&self) -> &[(TokenId, f32)] {
        &self.entries
    }

    /// The log-prob that no untold token exceeds, as far as the server's order says; −∞ for a whole row.
    pub(crate) fn ceiling(&self) -> f32 {
        self.ceiling
    }

    /// The probability of the tokens that are told; at most 1.
    pub(crate) fn mass(&self) -> f64 {
        self.mass.min(1.0)
    }

    pub(crate) fn log_prob(&self, id: TokenId) -> Option<f32> {
        let index = self.entries.binary_search_by_key(&id, |(id, _)| *id).ok()?;
        Some(self.entries[index].1)
    }

    /// Adds what another answer has told about the same position. Log-probs that both tell stay as they are.
    pub(crate) fn merge(&mut self, other: &Self) {
        let new = other.entries.iter().filter(|(id, _)| self.log_prob(*id).is_none());
        let new: Vec<_> = new.copied().collect();
        self.mass += new.iter().map(|(_, log_prob)| f64::from(*log_prob).exp()).sum::<f64>();
        self.entries.extend(new);
        self.entries.sort_unstable_by_key(|(id, _)| *id);
        self.ceiling = self.ceiling.min(other.ceiling);
    }

    /// The log-probs as a row of scores, with −∞ for the others.
    pub(crate) fn row(&self, width: usize) -> Vec<f32> {
        let mut row = vec![f32::NEG_INFINITY; width];
        for (id, log_prob) in &self.entries {
            if let Some(score) = row.get_mut(*id as usize) {
                *score = *log_prob;
            }
        }
        row
    }
}

fn missing(id: TokenId, real: usize) -> String {
    format!("it does not tell of token id {id}, but the log-probs of all {real} tokens were asked for")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn top(entries: &[(TokenId, f32)]) -> Result<Told, String> {
        Told::new(entries.to_vec(), Wanted::Top(3), 8, 6)
    }

    #[test]
    fn the_least_of_the_likeliest_bounds_the_others() {
        let told = top(&[(5, -0.5), (1, -1.5), (0, -4.0)]).unwrap();
        assert_eq!((told.ceiling(), told.log_prob(1), told.log_prob(2)), (-4.0, Some(-1.5), None));
        assert!((told.mass() - [0.5f64, 1.5, 4.0].map(|x| (-x).exp()).iter().sum::<f64>()).abs() < 1e-6);
        assert_eq!(told.row(6), [-4.0, -1.5, f32::NEG_INFINITY, f32::NEG_INFINITY, f32::NEG_INFINITY, -0.5]);
    }

    #[test]
    fn a_token_without_an_id_is_untold_but_bounded() {
        let entries = Entries { known: vec![(5, -0.9), (1, -3.0)], nameless: -1.5 };
        assert_eq!(Told::new(entries, Wanted::Top(3), 8, 6).unwrap().ceiling(), -1.5);
    }

    #[test]
    fn wrong_answers_are_refused() {
        for (entries, fault) in [
            (vec![(8, -1.0)], "token id 8"),
            (vec![(1, f32::NAN)], "NaN"),
            (vec![(1, 0.5)], "0.5"),
            (vec![(1, -1.0), (1, -1.0)], "twice"),
            (vec![(1, -0.1), (2, -0.1)], "add up to"),
            (vec![], "no token"),
        ] {
            let reason = top(&entries).unwrap_err();
            assert!(reason.contains(fault), "{reason}");
        }
    }

    #[test]
    fn a_whole_row_has_every_token() {
        let row = |ids: &[TokenId]| {
            let entries: Vec<_> = ids.iter().map(|id| (*id, -2.5)).collect();
            Told::new(entries, Wanted::Whole, 4, 3)
        };
        // Ids past the width are padding of the server's.
        let told = row(&[2, 0, 1, 9]).unwrap();
        assert_eq!((told.entries().len(), told.ceiling()), (3, f32::NEG_INFINITY));
        assert!(row(&[0, 2, 3]).unwrap_err().contains("token id 1,"));
        assert!(row(&[0, 1]).unwrap_err().contains("token id 2,"));
    }

    #[test]
    fn named_tokens_lower_no_ceiling_but_add_mass() {
        let mut told = top(&[(5, -0.5), (1, -1.5)]).unwrap();
        let before = told.mass();
        told.merge(&Told::new(vec![(1, -9.0), (3, -5.0)], Wanted::Named(&[1, 3]), 8, 6).unwrap());
        assert_eq!((told.ceiling(), told.log_prob(1), told.log_prob(3)), (-1.5, Some(-1.5), Some(-5.0)));
        assert!((told.mass() - before - (-5f64).exp()).abs() < 1e-6);
        assert!(Told::new(vec![(1, -9.0)], Wanted::Named(&[1, 3]), 8, 6).unwrap_err().contains("token id 3"));
    }
}
