//! `portolan dev --demo`: the main promise, shown on a running cluster.

mod image;
mod registry;
mod steps;
mod timeline;

use super::dev::Children;
use super::terminal::{Colour, paint, say};
use crate::cli::DevArgs;
use crate::error::Failure;
use steps::Demo;

/// The image that the demo leaves behind.
pub(crate) const IMAGE: &str = "demo/hello:v2";

/// Runs the demo on a ready cluster.
///
/// # Errors
/// When anything is not as promised.
pub(crate) async fn run(args: &DevArgs, children: &mut Children) -> Result<(), Failure> {
    let mut demo = Demo::new(children, args.json)?;
    let result = demo.run().await;
    if args.json {
        say(&demo.json(result.is_ok()))?;
    } else if result.is_ok() {
        say(&format!("\n{}\n", paint(&demo.summary(), Colour::Good)))?;
    }
    result
}
