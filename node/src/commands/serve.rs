//! `portolan serve`.

use crate::assembly::Node;
use crate::cli::ServeArgs;
use crate::condition;
use crate::config::Config;
use crate::error::Failure;
use crate::shutdown::Stop;
use crate::telemetry::Telemetry;

/// Runs one node until it is told to stop.
///
/// # Errors
/// When it cannot start, when a part of it ends by itself, or when it does not stop in time.
pub(crate) async fn run(args: &ServeArgs) -> Result<(), Failure> {
    let text = std::fs::read_to_string(&args.config)
        .map_err(|source| Failure::ConfigUnreadable { path: args.config.clone(), source })?;
    let variables = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.to_string_lossy().into_owned())));
    let config =
        Config::parse(&text, variables).map_err(|problems| Failure::Config { path: args.config.clone(), problems })?;
    let telemetry = Telemetry::install(&config.node.name)?;
    condition::raise_file_limit();
    let stop = Stop::watch(args.stop_on_stdin_eof)?;
    let result = serve(config, args, &telemetry, &stop).await;
    // On a terminal the caller's words are enough.
    let result = result.map_err(|error| {
        if telemetry.is_read_by_a_person() {
            return error;
        }
        tracing::error!(error = error.in_words(), "the node ends");
        Failure::Logged(Box::new(error))
    });
    // The exporter's last batch is sent from its own thread, which may block.
    tokio::task::block_in_place(|| telemetry.flush());
    stop.finish().await;
    result
}

async fn serve(config: Config, args: &ServeArgs, telemetry: &Telemetry, stop: &Stop) -> Result<(), Failure> {
    let token = stop.token();
    let data_dir = config.node.data_dir.clone();
    let mut node = match Node::start(config, &args.config, telemetry.renderer(), &token).await {
        Ok(node) => node,
        // Told to stop while it still looked for its peers.
        Err(Failure::Interrupted) => return Ok(()),
        Err(error) => return Err(error.of_folder(&data_dir)),
    };
    let ended = node.run_until(&token).await;
    let stopped = node.stop().await;
    ended.and(stopped)
}
