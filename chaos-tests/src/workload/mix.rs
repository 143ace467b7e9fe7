//! What clients do how often.

use rand::Rng;
use serde::{Deserialize, Serialize};

/// What a client does in one turn. Each is a file beside this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Pushes a whole image.
    Push,
    /// Points a tag to a fresh manifest over known layers.
    Tag,
    /// Pulls an image.
    Pull,
    /// Reads parts of layers.
    Range,
    /// Deletes a tag or a manifest.
    Delete,
    /// Uploads a blob in chunks to changing nodes.
    Hop,
    /// Lists tags or repositories.
    List,
    /// Attaches an artifact, or asks for those that are attached.
    Refer,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 8] =
        [Self::Push, Self::Tag, Self::Pull, Self::Range, Self::Delete, Self::Hop, Self::List, Self::Refer];
}

/// How often clients do what. Weights compare with each other; the others but `blobs` are
/// shares, in percent of the turns of one kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mix {
    /// The weights of turns.
    pub turns: Vec<(Kind, u32)>,
    /// Pushes that are an index over two images.
    pub indexes: u32,
    /// Moves of a tag that two clients make at once.
    pub races: u32,
    /// The most blobs that a pull fetches; the others are in the client's cache, as in production.
    pub blobs: usize,
    /// Pulls by a digest that was seen before.
    pub by_digest: u32,
    /// Deletes that delete a manifest rather than a tag.
    pub manifests: u32,
    /// Chunks whose connection is cut in the middle.
    pub cuts: u32,
    /// Lists that are of repositories rather than of tags.
    pub catalogs: u32,
    /// Artifacts that are attached rather than asked for.
    pub attached: u32,
    /// Acknowledged writes of a tag that the same client reads back at another node, by the tag or by the digest.
    pub read_back: u32,
}

impl Mix {
    /// The study's: of twenty calls about nineteen read.
    #[must_use]
    pub fn study() -> Self {
        Self::of([8, 20, 640, 140, 7, 6, 90, 40])
    }

    /// Many writes of all sorts.
    #[must_use]
    pub fn writes() -> Self {
        Self::of([200, 250, 200, 60, 60, 80, 60, 90])
    }

    /// Tags that move, vanish and are read, with as few blobs as that takes.
    #[must_use]
    pub fn tags() -> Self {
        Self { blobs: 1, by_digest: 10, manifests: 20, read_back: 50, ..Self::of([20, 400, 400, 0, 80, 0, 60, 40]) }
    }

    /// Uploads in chunks, most of all.
    #[must_use]
    pub fn uploads() -> Self {
        Self { cuts: 30, ..Self::of([150, 50, 200, 100, 10, 400, 30, 60]) }
    }

    /// A preset by its name.
    ///
    /// # Errors
    /// When there is none.
    pub fn named(name: &str) -> crate::Result<Self> {
        match name {
            "study" => Ok(Self::study()),
            "writes" => Ok(Self::writes()),
            "tags" => Ok(Self::tags()),
            "uploads" => Ok(Self::uploads()),
            other => Err(format!("no mix is named {other:?}: study, writes, tags, uploads").into()),
        }
    }

    fn of(weights: [u32; 8]) -> Self {
        Self {
            turns: Kind::ALL.into_iter().zip(weights).collect(),
            indexes: 15,
            races: 30,
            blobs: 3,
            by_digest: 40,
            manifests: 35,
            cuts: 15,
            catalogs: 25,
            attached: 15,
            read_back: 25,
        }
    }

    /// One kind, by the weights; to pull when all weigh nothing.
    pub(super) fn draw(&self, dice: &mut impl Rng) -> Kind {
        let all: u32 = self.turns.iter().map(|(_, weight)| weight).sum();
        let mut left = dice.random_range(0..all.max(1));
        for (kind, weight) in &self.turns {
            if left < *weight {
                return *kind;
            }
            left -= weight;
        }
        Kind::Pull
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test says by a panic that it failed")]
mod tests {
    use super::{Kind, Mix};
    use crate::kills;
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    #[test]
    fn turns_are_drawn_by_their_weights_and_those_of_no_weight_never() {
        let mut dice = StdRng::seed_from_u64(kills::seed());
        for name in ["study", "writes", "tags", "uploads"] {
            let mix = Mix::named(name).unwrap();
            let all: u32 = mix.turns.iter().map(|(_, weight)| weight).sum();
            let drawn: Vec<Kind> = (0..50_000).map(|_| mix.draw(&mut dice)).collect();
            for (kind, weight) in &mix.turns {
                let share = drawn.iter().filter(|drawn| *drawn == kind).count() as f64 / 50_000.0;
                let wanted = f64::from(*weight) / f64::from(all);
                assert!((share - wanted).abs() < 0.01, "{name}: {kind:?} {share:.3} instead of {wanted:.3}");
                assert_eq!(share > 0.0, *weight > 0, "{name}: {kind:?}");
            }
        }
        assert!(Mix::named("none").is_err());
    }
}
