//! Places on the sphere, as MongoDB has it: great circles, and a radius of the Earth at the equator.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::Error;

/// The radius of the sphere in metres.
pub const EARTH_RADIUS: f64 = 6_378_100.0;

/// A place: on the wire a GeoJSON point, with the longitude first.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "GeoJson", into = "GeoJson")]
pub struct Point {
    longitude: f64,
    latitude: f64,
}

/// A GeoJSON point.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct GeoJson {
    r#type: PointType,
    coordinates: [f64; 2],
}

#[derive(Serialize, Deserialize)]
enum PointType {
    Point,
}

/// A part of the sphere.
#[derive(Debug, Clone, PartialEq)]
pub enum Area {
    /// Not farther than so many metres from its centre.
    Circle {
        center: Point,
        metres: f64,
    },
    Polygon(Polygon),
}

/// A part of the sphere within a ring of great circles: the smaller part.
#[derive(Debug, Clone, PartialEq)]
pub struct Polygon {
    corners: Vec<Point>,
    /// From above its middle great circles look straight.
    plane: Plane,
    ring: Vec<[f64; 2]>,
}

/// The plane that touches the sphere in one point, as seen from the centre of the sphere.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Plane {
    touches: [f64; 3],
    right: [f64; 3],
    up: [f64; 3],
}

impl Point {
    /// The place at these degrees.
    ///
    /// # Errors
    /// [`Error::Invalid`] if that is not on the Earth: a longitude is -180 to 180, a latitude -90 to 90.
    pub fn new(longitude: f64, latitude: f64) -> Result<Self, Error> {
        if (-180.0..=180.0).contains(&longitude) && (-90.0..=90.0).contains(&latitude) {
            Ok(Self { longitude, latitude })
        } else {
            let message = "must be a longitude of -180 to 180 and a latitude of -90 to 90";
            Err(Error::invalid("coordinates", "point", message))
        }
    }

    /// Degrees to the east.
    pub fn longitude(self) -> f64 {
        self.longitude
    }

    /// Degrees to the north.
    pub fn latitude(self) -> f64 {
        self.latitude
    }
}

impl TryFrom<GeoJson> for Point {
    type Error = Error;

    fn try_from(
        GeoJson { r#type: PointType::Point, coordinates: [longitude, latitude] }: GeoJson,
    ) -> Result<Self, Error> {
        Self::new(longitude, latitude)
    }
}

impl From<Point> for GeoJson {
    fn from(Point { longitude, latitude }: Point) -> Self {
        Self { r#type: PointType::Point, coordinates: [longitude, latitude] }
    }
}

// Written out, because latitudes have other limits than longitudes.
impl JsonSchema for Point {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Point".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        schemars::json_schema!({
            "type": "object",
            "properties": {
                "type": { "enum": ["Point"] },
                "coordinates": {
                    "type": "array",
                    "prefixItems": [
                        { "type": "number", "minimum": -180, "maximum": 180 },
                        { "type": "number", "minimum": -90, "maximum": 90 },
                    ],
                    "minItems": 2,
                    "maxItems": 2,
                },
            },
            "required": ["type", "coordinates"],
            "additionalProperties": false,
        })
    }
}

impl Point {
    /// The place that a field holds, if it does.
    pub(crate) fn of(value: &Value) -> Option<Self> {
        Self::deserialize(value).ok()
    }

    /// How many metres it is from one place to another, along the great circle.
    pub fn distance(self, other: Self) -> f64 {
        let half = |a: f64, b: f64| ((a - b).to_radians() / 2.0).sin().powi(2);
        let across = self.latitude.to_radians().cos() * other.latitude.to_radians().cos();
        let chord = half(self.latitude, other.latitude) + across * half(self.longitude, other.longitude);
        2.0 * EARTH_RADIUS * chord.min(1.0).sqrt().asin()
    }

    /// Where it is, as seen from the centre of a sphere of radius 1.
    fn vector(self) -> [f64; 3] {
        let (longitude, latitude) = (self.longitude.to_radians(), self.latitude.to_radians());
        [latitude.cos() * longitude.cos(), latitude.cos() * longitude.sin(), latitude.sin()]
    }
}

impl Area {
    /// Whether a place is in there.
    pub fn contains(&self, point: Point) -> bool {
        match self {
            Self::Circle { center, metres } => center.distance(point) <= *metres,
            Self::Polygon(polygon) => polygon.contains(point),
        }
    }
}

impl Polygon {
    /// The part within the ring of these corners; the last is joined with the first.
    ///
    /// # Errors
    /// [`Error::Invalid`] if that is no ring: of fewer than three corners, with sides that meet elsewhere than in their
    /// ends, or not all to be seen from above its middle.
    pub fn new(mut corners: Vec<Point>) -> Result<Self, Error> {
        let wrong = |message| Err(Error::invalid("polygon", "polygon", message));
        if corners.len() > 1 && corners.first() == corners.last() {
            corners.pop();
        }
        if corners.len() < 3 {
            return wrong("must have three corners or more");
        }
        let vectors = corners.iter().map(|corner| corner.vector()).collect::<Vec<_>>();
        let sum = vectors.iter().fold([0.0; 3], |[x, y, z], vector| [x + vector[0], y + vector[1], z + vector[2]]);
        let ring = Plane::touching(sum).and_then(|plane| {
            let ring = vectors.iter().map(|vector| plane.project(*vector)).collect::<Option<Vec<_>>>()?;
            Some((plane, ring))
        });
        let Some((plane, ring)) = ring else {
            return wrong("must be so small that all of its corners are seen from above its middle");
        };
        if !is_simple(&ring) {
            return wrong("must have sides that meet only in their ends");
        }
        Ok(Self { corners, plane, ring })
    }

    /// Its corners, the first of them not repeated.
    pub fn corners(&self) -> &[Point] {
        &self.corners
    }

    /// A circle that all of it is in: its centre and how many metres it reaches.
    pub(crate) fn circle(&self) -> (Point, f64) {
        let [x, y, z] = self.plane.touches;
        let center = Point { longitude: y.atan2(x).to_degrees(), latitude: z.clamp(-1.0, 1.0).asin().to_degrees() };
        let reach = self.corners.iter().map(|corner| center.distance(*corner)).fold(0.0, f64::max);
        (center, reach)
    }

    fn contains(&self, point: Point) -> bool {
        let Some([x, y]) = self.plane.project(point.vector()) else { return false };
        let crosses = |&([ax, ay], [bx, by]): &([f64; 2], [f64; 2])| {
            (ay > y) != (by > y) && x < (bx - ax) * (y - ay) / (by - ay) + ax
        };
        sides(&self.ring).filter(crosses).count() % 2 == 1
    }
}

fn sides(ring: &[[f64; 2]]) -> impl Iterator<Item = ([f64; 2], [f64; 2])> {
    ring.iter().copied().zip(ring.iter().copied().cycle().skip(1))
}

/// Whether the sides of a ring meet only where one ends and the next begins.
fn is_simple(ring: &[[f64; 2]]) -> bool {
    let sides = sides(ring).collect::<Vec<_>>();
    let last = sides.len() - 1;
    sides.iter().enumerate().all(|(n, (a, b))| {
        let others = sides.iter().enumerate().skip(n + 1);
        a != b
            && others.into_iter().all(|(m, (c, d))| {
                let [ca, cb, cc, cd] = [turn(*a, *b, *c), turn(*a, *b, *d), turn(*c, *d, *a), turn(*c, *d, *b)];
                let is_next = m == n + 1 || (n == 0 && m == last);
                if is_next {
                    // Neighbours share a corner; going straight back, they share more.
                    let (other, corner, far) = if m == n + 1 { (*a, *b, *d) } else { (*b, *a, *c) };
                    turn(other, corner, far) != 0.0 || !is_between(other, corner, far)
                } else {
                    ca * cb > 0.0 || cc * cd > 0.0
                }
            })
    })
}

/// On which side of the line from `a` to `b` a point is.
fn turn(a: [f64; 2], b: [f64; 2], point: [f64; 2]) -> f64 {
    (b[0] - a[0]) * (point[1] - a[1]) - (b[1] - a[1]) * (point[0] - a[0])
}

/// Whether two points on a line with a corner are on the same side of it.
fn is_between(a: [f64; 2], corner: [f64; 2], b: [f64; 2]) -> bool {
    (a[0] - corner[0]) * (b[0] - corner[0]) + (a[1] - corner[1]) * (b[1] - corner[1]) > 0.0
}

impl Plane {
    /// The plane below a direction, unless that is none.
    fn touching(direction: [f64; 3]) -> Option<Self> {
        let touches = unit(direction)?;
        // Any direction that is far from it will do.
        let axis = if touches[2].abs() < 0.5 { [0.0, 0.0, 1.0] } else { [1.0, 0.0, 0.0] };
        let right = unit(cross(axis, touches))?;
        Some(Self { touches, right, up: cross(touches, right) })
    }

    /// Where a point of the sphere is seen, if it is on this side.
    fn project(&self, point: [f64; 3]) -> Option<[f64; 2]> {
        const HORIZON: f64 = 1e-6;
        let depth = dot(point, self.touches);
        (depth > HORIZON).then(|| [dot(point, self.right) / depth, dot(point, self.up) / depth])
    }
}

fn dot(a: [f64; 3], b: [f64; 3]) -> f64 {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

fn cross(a: [f64; 3], b: [f64; 3]) -> [f64; 3] {
    [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]
}

fn unit(vector: [f64; 3]) -> Option<[f64; 3]> {
    let length = dot(vector, vector).sqrt();
    (length > 1e-9).then(|| vector.map(|part| part / length))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(longitude: f64, latitude: f64) -> Point {
        Point::new(longitude, latitude).unwrap()
    }

    fn ring(corners: &[(f64, f64)]) -> Result<Polygon, Error> {
        Polygon::new(corners.iter().map(|&(longitude, latitude)| point(longitude, latitude)).collect())
    }

    #[test]
    fn distances_are_those_of_great_circles() {
        let quarter = EARTH_RADIUS * std::f64::consts::FRAC_PI_2;
        for (from, to, metres) in [
            (point(0.0, 0.0), point(90.0, 0.0), quarter),
            (point(12.0, 90.0), point(77.0, 0.0), quarter),
            (point(0.0, 0.0), point(180.0, 0.0), 2.0 * quarter),
            (point(179.5, 0.0), point(-179.5, 0.0), quarter / 90.0),
            (point(16.37, 48.21), point(16.37, 48.21), 0.0),
        ] {
            assert!((from.distance(to) - metres).abs() < 1e-6, "{from:?} {to:?}");
        }
        // Vienna to Linz.
        let metres = point(16.3725, 48.2083).distance(point(14.2861, 48.3064));
        assert!((154_000.0..156_000.0).contains(&metres), "{metres}");
    }

    #[test]
    fn the_sides_of_a_polygon_are_great_circles() {
        let polygon = ring(&[(0.0, 50.0), (60.0, 50.0), (60.0, 40.0), (0.0, 40.0)]).unwrap();
        // The great circle bends towards the pole: by 3.9 degrees in the middle.
        assert!(polygon.contains(point(30.0, 53.9)) && !polygon.contains(point(30.0, 54.1)));
        assert!(!polygon.contains(point(30.0, 43.9)) && polygon.contains(point(30.0, 44.2)));
        assert!(!polygon.contains(point(-150.0, -45.0)), "the other side of the Earth");
        let across = ring(&[(170.0, -5.0), (-170.0, -5.0), (-170.0, 5.0), (170.0, 5.0)]).unwrap();
        assert!(across.contains(point(180.0, 0.0)) && across.contains(point(-179.0, 4.0)));
        assert!(!across.contains(point(0.0, 0.0)) && !across.contains(point(169.0, 0.0)));
        let pole = ring(&[(0.0, 80.0), (90.0, 80.0), (180.0, 80.0), (-90.0, 80.0), (0.0, 80.0)]).unwrap();
        assert!(pole.contains(point(45.0, 89.0)) && !pole.contains(point(45.0, 79.0)));
        assert_eq!(pole.corners().len(), 4);
    }

    #[test]
    fn what_is_no_polygon_is_refused() {
        for corners in [
            vec![],
            vec![(0.0, 0.0), (1.0, 0.0)],
            vec![(0.0, 0.0), (1.0, 0.0), (0.0, 0.0)],
            vec![(0.0, 0.0), (1.0, 1.0), (1.0, 0.0), (0.0, 1.0)],
            vec![(0.0, 0.0), (0.0, 0.0), (1.0, 1.0), (1.0, 0.0)],
            vec![(0.0, 0.0), (120.0, 0.0), (-120.0, 0.0)],
        ] {
            ring(&corners).unwrap_err();
        }
        Point::new(181.0, 0.0).unwrap_err();
        Point::new(0.0, f64::NAN).unwrap_err();
    }

    #[test]
    fn a_point_is_geojson() {
        let json = serde_json::json!({"type": "Point", "coordinates": [1.5, -2.0]});
        assert_eq!(serde_json::to_value(point(1.5, -2.0)).unwrap(), json);
        assert_eq!(Point::of(&json), Some(point(1.5, -2.0)));
        let validator = jsonschema::validator_for(schemars::schema_for!(Point).as_value()).unwrap();
        for (wrong, is_taken) in [
            (json, true),
            (serde_json::json!({"type": "Point", "coordinates": [1.5, 90.5]}), false),
            (serde_json::json!({"type": "Point", "coordinates": [181, 0]}), false),
            (serde_json::json!({"type": "Point", "coordinates": [1, 2, 3]}), false),
            (serde_json::json!({"type": "Point", "coordinates": [1]}), false),
            (serde_json::json!({"type": "Polygon", "coordinates": [1, 2]}), false),
            (serde_json::json!({"type": "Point", "coordinates": [1, 2], "x": 1}), false),
            (serde_json::json!("x"), false),
        ] {
            assert_eq!((Point::of(&wrong).is_some(), validator.is_valid(&wrong)), (is_taken, is_taken), "{wrong}");
        }
    }
}
