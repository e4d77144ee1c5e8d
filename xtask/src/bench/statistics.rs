//! Medians and spreads.

use std::fmt;

use serde::Serialize;

/// Repeated measurements of one thing.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Spread {
    pub median: f64,
    pub min: f64,
    pub max: f64,
    /// Number of measurements.
    pub rounds: usize,
}

impl Spread {
    /// `None` when nothing was measured.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().filter(|value| value.is_finite()).collect();
        values.sort_by(f64::total_cmp);
        let middle = values.len() / 2;
        let upper = *values.get(middle)?;
        let median = match values.get(middle.wrapping_sub(1)) {
            Some(lower) if values.len().is_multiple_of(2) => f64::midpoint(*lower, upper),
            _ => upper,
        };
        Some(Self {
            median,
            min: *values.first()?,
            max: *values.last()?,
            rounds: values.len(),
        })
    }

    /// The same for one of `count` things; `None` when there are none.
    pub fn divided(&self, count: f64) -> Option<Self> {
        (count > 0.0).then(|| Self {
            median: self.median / count,
            min: self.min / count,
            max: self.max / count,
            rounds: self.rounds,
        })
    }
}

/// `median (min … max)`, with as many digits as the size deserves.
impl fmt::Display for Spread {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let largest = self.max.abs().max(self.min.abs());
        let digits = if largest >= 1000.0 {
            0
        } else if largest >= 10.0 {
            1
        } else {
            3
        };
        let Self { median, min, max, .. } = self;
        write!(formatter, "{median:.digits$} ({min:.digits$} … {max:.digits$})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_of_odd_and_even_numbers() {
        let odd = Spread::of([3.0, 1.0, 2.0]).unwrap();
        assert_eq!((odd.median, odd.min, odd.max, odd.rounds), (2.0, 1.0, 3.0, 3));
        assert_eq!(Spread::of([4.0, 1.0, 2.0, 3.0]).unwrap().median, 2.5);
        assert_eq!(Spread::of([7.0]).unwrap().median, 7.0);
        assert_eq!(Spread::of([]), None);
        assert_eq!(Spread::of([f64::NAN]), None);
    }

    #[test]
    fn digits_follow_the_size() {
        let text = |values: [f64; 3]| Spread::of(values).unwrap().to_string();
        assert_eq!(text([1.0712, 1.0, 1.1]), "1.071 (1.000 … 1.100)");
        assert_eq!(text([621.24, 600.0, 700.0]), "621.2 (600.0 … 700.0)");
        assert_eq!(text([51_234.6, 50_000.0, 60_000.0]), "51235 (50000 … 60000)");
    }
}
