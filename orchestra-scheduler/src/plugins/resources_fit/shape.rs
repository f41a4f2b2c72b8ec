//! A score as a broken line over utilisation, for `RequestedToCapacityRatio`.

/// One corner of the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShapePoint {
    /// Percent in use, 0 to 100.
    pub utilization: i64,
    /// What that is worth, 0 to 10.
    pub score: i64,
}

/// A broken line from utilisation to score.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape(Vec<ShapePoint>);

impl Shape {
    /// Scores are given from 0 to 10 and mean 0 to 100.
    const SCALE: i64 = 10;

    /// The line through `points`.
    ///
    /// # Errors
    /// In words, when there are no points, they do not rise in utilisation, or one is out of range.
    pub fn new(mut points: Vec<ShapePoint>) -> Result<Self, &'static str> {
        if points.is_empty() {
            return Err("at least one point must be specified");
        }
        if points.iter().any(|point| !(0..=100).contains(&point.utilization)) {
            return Err("utilization values must be between 0 and 100");
        }
        if points.iter().any(|point| !(0..=Self::SCALE).contains(&point.score)) {
            return Err("scores must be between 0 and 10");
        }
        if points
            .windows(2)
            .any(|pair| matches!(pair, [left, right] if left.utilization >= right.utilization))
        {
            return Err("utilization values must be sorted in increasing order");
        }
        points.iter_mut().for_each(|point| point.score *= Self::SCALE);
        Ok(Self(points))
    }

    /// The score at a utilisation, 0 to 100; whole numbers all the way, flat beyond the ends.
    pub(super) fn at(&self, utilization: i64) -> i64 {
        let mut before: Option<ShapePoint> = None;
        for point in &self.0 {
            if utilization <= point.utilization {
                let Some(from) = before else { return point.score };
                let (rise, run) = (point.score - from.score, point.utilization - from.utilization);
                return from.score + rise * (utilization - from.utilization) / run;
            }
            before = Some(*point);
        }
        before.map_or(0, |last| last.score)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(points: &[(i64, i64)]) -> Result<Shape, &'static str> {
        Shape::new(
            points
                .iter()
                .map(|(utilization, score)| ShapePoint { utilization: *utilization, score: *score })
                .collect(),
        )
    }

    #[test]
    fn shape_is_interpolated_in_whole_numbers_and_flat_beyond_its_ends() {
        let line = shape(&[(10, 0), (40, 10), (70, 5)]).unwrap();
        for (utilization, score) in
            [(0, 0), (10, 0), (11, 3), (25, 50), (40, 100), (41, 99), (70, 50), (100, 50)]
        {
            assert_eq!(line.at(utilization), score, "{utilization}");
        }
    }

    #[test]
    fn shapes_that_make_no_line_are_refused() {
        for points in [&[][..], &[(0, 11)], &[(101, 1)], &[(5, 1), (5, 2)], &[(9, 1), (5, 2)]] {
            assert!(shape(points).is_err(), "{points:?}");
        }
    }
}
