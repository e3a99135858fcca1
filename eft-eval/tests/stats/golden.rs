//! What `scripts/stats_golden.py` has computed by scipy.
use eft_eval::stats::{Bootstrap, Clusters, Estimate, Interval, PowerLaw, StatsError, sign_test};
use serde::Deserialize;

/// The largest difference of numbers that do not depend on random numbers, relative to those above 1.
const EXACT: f64 = 1e-10;

/// The largest difference of two percentiles, in standard deviations of the statistic. Each is computed from 200,000
/// resamples, so the difference of the outermost ones has a standard deviation of about 0.01.
const MONTE_CARLO: f64 = 0.05;

#[derive(Deserialize)]
struct Golden {
    resamples: usize,
    means: Vec<Mean>,
    differences: Vec<Difference>,
    gaps: Vec<Gap>,
    sign_tests: Vec<Signs>,
    power_laws: Vec<Law>,
    curves: Vec<Curve>,
}

#[derive(Deserialize)]
struct Expected {
    level: f64,
    low: f64,
    high: f64,
    deviation: Option<f64>,
}

#[derive(Deserialize)]
struct Mean {
    scores: Vec<f64>,
    clusters: Vec<usize>,
    value: f64,
    intervals: Vec<Expected>,
}

#[derive(Deserialize)]
struct Difference {
    a: Vec<f64>,
    b: Vec<f64>,
    clusters: Vec<usize>,
    value: f64,
    wins: usize,
    losses: usize,
    p_value: f64,
    intervals: Vec<Expected>,
}

#[derive(Deserialize)]
struct Gap {
    base: Vec<f64>,
    source: Vec<f64>,
    reference: Vec<f64>,
    clusters: Vec<usize>,
    value: f64,
    intervals: Vec<Expected>,
}

#[derive(Deserialize)]
struct Signs {
    wins: usize,
    losses: usize,
    p_value: f64,
}

#[derive(Deserialize)]
struct Law {
    x: Vec<f64>,
    y: Vec<f64>,
    excluded: Vec<usize>,
    exponent: f64,
    factor: f64,
    r_squared: f64,
    by_t: Vec<Expected>,
    intervals: Vec<Expected>,
}

#[derive(Deserialize)]
struct Curve {
    x: Vec<f64>,
    scores: Vec<Vec<f64>>,
    clusters: Vec<usize>,
    intervals: Vec<Expected>,
}

fn golden() -> Golden {
    serde_json::from_str(include_str!("../goldens/stats.json")).unwrap()
}

#[track_caller]
fn assert_exact(got: f64, expected: f64) {
    assert!((got - expected).abs() <= EXACT * expected.abs().max(1.0), "{got}, expected {expected}");
}

/// Compares the interval at each level with the one of scipy.
#[track_caller]
fn assert_intervals(
    resamples: usize,
    expected: &[Expected],
    interval: impl Fn(&Bootstrap) -> Result<Interval, StatsError>,
) {
    for expected in expected {
        let bootstrap = Bootstrap::default().resamples(resamples).level(expected.level);
        let got = interval(&bootstrap).unwrap();
        let tolerance = MONTE_CARLO * expected.deviation.unwrap();
        let far = |a: f64, b: f64| (a - b).abs() > tolerance;
        let Expected { level, low, high, .. } = *expected;
        assert!(
            !far(got.low, low) && !far(got.high, high),
            "at {level}: {got:.5}, expected [{low:.5}, {high:.5}] within {tolerance:.5}"
        );
    }
}

fn interval(estimate: Estimate) -> Interval {
    estimate.interval
}

#[test]
fn means() {
    let golden = golden();
    for Mean { scores, clusters, value, intervals } in golden.means {
        let clusters = Clusters::by(clusters);
        let few = Bootstrap::default().resamples(10);
        assert_exact(few.mean(&scores, &clusters).unwrap().value, value);
        assert_intervals(golden.resamples, &intervals, |b| b.mean(&scores, &clusters).map(interval));
    }
}

#[test]
fn paired_differences() {
    let golden = golden();
    for Difference { a, b, clusters, value, wins, losses, p_value, intervals } in golden.differences {
        let clusters = Clusters::by(clusters);
        let few = Bootstrap::default().resamples(10);
        assert_exact(few.difference(&a, &b, &clusters).unwrap().value, value);
        assert_intervals(golden.resamples, &intervals, |boot| {
            boot.difference(&a, &b, &clusters).map(interval)
        });
        let signs = sign_test(&a, &b).unwrap();
        assert_eq!((signs.wins, signs.losses), (wins, losses));
        assert_exact(signs.p_value, p_value);
    }
}

#[test]
fn sign_tests() {
    for Signs { wins, losses, p_value } in golden().sign_tests {
        let a: Vec<_> = (0..wins + losses + 3).map(|i| if i < wins { 1.0 } else { 0.0 }).collect();
        let b: Vec<_> =
            (0..a.len()).map(|i| if (wins..wins + losses).contains(&i) { 1.0 } else { 0.0 }).collect();
        let test = sign_test(&a, &b).unwrap();
        assert_eq!((test.wins, test.losses, test.ties), (wins, losses, 3));
        // Relative, since these probabilities may be very small.
        assert!((test.p_value / p_value - 1.0).abs() <= EXACT, "{}, expected {p_value}", test.p_value);
    }
}

#[test]
fn gaps_closed() {
    let golden = golden();
    for Gap { base, source, reference, clusters, value, intervals } in golden.gaps {
        let clusters = Clusters::by(clusters);
        let closed = |b: &Bootstrap| b.gap_closed(&base, &source, &reference, &clusters);
        assert_exact(closed(&Bootstrap::default().resamples(10)).unwrap().value, value);
        assert_intervals(golden.resamples, &intervals, |b| closed(b).map(|closed| closed.interval));
    }
}

#[test]
fn power_laws() {
    let golden = golden();
    for Law { x, y, excluded, exponent, factor, r_squared, by_t, intervals } in golden.power_laws {
        let points: Vec<_> = x.into_iter().zip(y).collect();
        for expected in by_t {
            let law = PowerLaw::fit(&points, expected.level).unwrap();
            assert_eq!(law.excluded, excluded);
            assert_exact(law.exponent, exponent);
            assert_exact(law.factor, factor);
            assert_exact(law.r_squared, r_squared);
            assert_exact(law.exponent_interval.low, expected.low);
            assert_exact(law.exponent_interval.high, expected.high);
        }
        assert_intervals(golden.resamples, &intervals, |b| b.exponent(&points).map(|e| e.interval));
    }
}

#[test]
fn power_laws_through_means_over_items() {
    let golden = golden();
    for Curve { x, scores, clusters, intervals } in golden.curves {
        let clusters = Clusters::by(clusters);
        let curve: Vec<_> = x.into_iter().zip(scores).collect();
        assert_intervals(golden.resamples, &intervals, |b| {
            b.exponent_over_items(&curve, &clusters).map(|e| e.interval)
        });
    }
}

/// A bootstrap of the gap divides by 0 in the resamples without a gap. With two items, one of which has none, that is a
/// quarter of them.
#[test]
fn resamples_without_a_gap_are_counted() {
    let bootstrap = Bootstrap::default().resamples(40_000);
    let closed = bootstrap.gap_closed(&[0.0, 1.0], &[1.0, 1.0], &[1.0, 1.0], &Clusters::each(2)).unwrap();
    // The standard deviation of the count is 87.
    assert!(closed.undefined.abs_diff(10_000) < 500, "{}", closed.undefined);
    assert_eq!((closed.value, closed.interval.low), (1.0, 1.0));
    assert!(closed.to_string().ends_with("of 40000 resamples)"));
}

#[test]
fn one_seed_gives_one_interval() {
    let scores: Vec<_> = (0..50).map(|i| f64::from(i * i % 17).sqrt()).collect();
    let mean = |seed| Bootstrap::default().seed(seed).mean(&scores, &Clusters::each(50)).unwrap();
    assert_eq!(mean(3), mean(3));
    assert_ne!(mean(3), mean(4));
}
