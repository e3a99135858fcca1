//! Minimising a smooth function of some hundred numbers: L-BFGS (Liu and Nocedal 1989) with a backtracking line search.
use std::collections::VecDeque;

/// The number of past steps from which the curvature is estimated.
const MEMORY: usize = 10;

/// The part of the expected decrease that a step must reach (Armijo 1966).
const DECREASE: f64 = 1e-4;

/// Returns a point at which the gradient of `f` vanishes, from `start`; or the best one after `iterations` steps. `f`
/// returns its value and its gradient.
pub(super) fn minimise(
    f: impl Fn(&[f64]) -> (f64, Vec<f64>),
    start: Vec<f64>,
    iterations: usize,
    tolerance: f64,
) -> Vec<f64> {
    let mut at = start;
    let (mut value, mut gradient) = f(&at);
    // Steps, and the changes of the gradient over them.
    let mut past: VecDeque<(Vec<f64>, Vec<f64>)> = VecDeque::new();
    for _ in 0..iterations {
        if gradient.iter().all(|g| g.abs() <= tolerance) {
            break;
        }
        let mut direction = direction(&gradient, &past);
        let mut slope = dot(&gradient, &direction);
        if slope >= 0.0 {
            past.clear();
            direction = gradient.iter().map(|g| -g).collect();
            slope = -dot(&gradient, &gradient);
        }
        // The first direction has no scale of its own.
        let mut length = if past.is_empty() { 1.0 / dot(&gradient, &gradient).sqrt().max(1.0) } else { 1.0 };
        let moved = loop {
            let point: Vec<_> = at.iter().zip(&direction).map(|(x, d)| x + length * d).collect();
            let (new, slopes) = f(&point);
            if new <= value + DECREASE * length * slope {
                break Some((point, new, slopes));
            }
            length /= 2.0;
            if length < 1e-12 {
                break None;
            }
        };
        let Some((point, new, slopes)) = moved else {
            if past.is_empty() {
                break;
            }
            // Once more along the gradient alone.
            past.clear();
            continue;
        };
        let step = difference(&point, &at);
        let change = difference(&slopes, &gradient);
        if dot(&step, &change) > 1e-12 * dot(&change, &change) {
            past.push_back((step, change));
            if past.len() > MEMORY {
                past.pop_front();
            }
        }
        (at, value, gradient) = (point, new, slopes);
    }
    at
}

/// The gradient times an estimate of the negative inverse of the second derivatives.
fn direction(gradient: &[f64], past: &VecDeque<(Vec<f64>, Vec<f64>)>) -> Vec<f64> {
    let mut direction: Vec<_> = gradient.iter().map(|g| -g).collect();
    let mut shares = Vec::new();
    for (step, change) in past.iter().rev() {
        let share = dot(step, &direction) / dot(step, change);
        add(&mut direction, -share, change);
        shares.push(share);
    }
    if let Some((step, change)) = past.back() {
        let scale = dot(step, change) / dot(change, change);
        direction.iter_mut().for_each(|d| *d *= scale);
    }
    for ((step, change), share) in past.iter().zip(shares.iter().rev()) {
        let correction = share - dot(change, &direction) / dot(step, change);
        add(&mut direction, correction, step);
    }
    direction
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn difference(a: &[f64], b: &[f64]) -> Vec<f64> {
    a.iter().zip(b).map(|(a, b)| a - b).collect()
}

fn add(a: &mut [f64], weight: f64, b: &[f64]) {
    a.iter_mut().zip(b).for_each(|(a, b)| *a += weight * b);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_minimum_of_a_narrow_valley() {
        // The function of Rosenbrock 1960, with its minimum at (1, 1).
        let f = |x: &[f64]| {
            let (a, b) = (1.0 - x[0], x[1] - x[0] * x[0]);
            (a * a + 100.0 * b * b, vec![-2.0 * a - 400.0 * x[0] * b, 200.0 * b])
        };
        let found = minimise(f, vec![-1.2, 1.0], 200, 1e-9);
        assert!(found.iter().all(|x| (x - 1.0).abs() < 1e-6), "{found:?}");
    }

    #[test]
    fn finds_the_minimum_of_a_quadratic_function_of_many_numbers() {
        let f = |x: &[f64]| {
            let scale = |i: usize| 10f64.powi(i as i32 % 5 - 2);
            let value = x.iter().enumerate().map(|(i, x)| scale(i) * (x - i as f64).powi(2)).sum();
            (value, x.iter().enumerate().map(|(i, x)| 2.0 * scale(i) * (x - i as f64)).collect())
        };
        let found = minimise(f, vec![0.0; 40], 500, 1e-10);
        assert!(found.iter().enumerate().all(|(i, x)| (x - i as f64).abs() < 1e-6), "{found:?}");
    }

    #[test]
    fn ends_where_it_cannot_descend() {
        // The gradient points the wrong way, so no step decreases the value.
        assert_eq!(minimise(|x| (x[0], vec![-1.0]), vec![3.0], 50, 1e-9), [3.0]);
    }
}
