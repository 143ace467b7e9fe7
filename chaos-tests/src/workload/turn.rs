//! A client's life: turn after turn.

use super::client::Client;
use super::door::Door;
use super::mix::Kind;
use super::{deleter, hopper, lister, puller, pusher, ranger, referrers, tagger};

/// Takes turns until the run is over, or for so many.
pub(super) async fn live<D: Door>(client: &mut Client<D>, turns: Option<usize>) {
    let mut taken = 0;
    while !client.is_over() && turns.is_none_or(|turns| taken < turns) {
        // In the beginning there is nothing to pull.
        let kind = if taken == 0 { Kind::Push } else { client.shared.plan.mix.draw(&mut client.dice) };
        match kind {
            Kind::Push => pusher::turn(client).await,
            Kind::Tag => tagger::turn(client).await,
            Kind::Pull => puller::turn(client).await,
            Kind::Range => ranger::turn(client).await,
            Kind::Delete => deleter::turn(client).await,
            Kind::Hop => hopper::turn(client).await,
            Kind::List => lister::turn(client).await,
            Kind::Refer => referrers::turn(client).await,
        }
        client.rest().await;
        taken += 1;
    }
}
