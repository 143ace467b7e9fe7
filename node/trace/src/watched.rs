//! An exporter whose failures are told once, and its recovery too: a collector that is away must neither go unnoticed
//! nor fill the log.

use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SpanData, SpanExporter};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Passes everything on.
#[derive(Debug)]
pub(crate) struct Watched<E> {
    exporter: E,
    failing: AtomicBool,
}

impl<E> Watched<E> {
    pub(crate) fn new(exporter: E) -> Self {
        Self { exporter, failing: AtomicBool::new(false) }
    }

    fn note(&self, result: &OTelSdkResult) {
        let failed = result.is_err();
        if self.failing.swap(failed, Ordering::Relaxed) == failed {
            return;
        }
        match result {
            Err(error) => tracing::warn!(%error, "spans cannot be exported; they are dropped until that works"),
            Ok(()) => tracing::info!("spans are exported again"),
        }
    }
}

impl<E: SpanExporter> SpanExporter for Watched<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let result = self.exporter.export(batch).await;
        self.note(&result);
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a panic fails the test")]

    use super::Watched;
    use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
    use opentelemetry_sdk::trace::{SpanData, SpanExporter};
    use std::io;
    use std::sync::{Arc, Mutex};

    /// Fails while its number is odd.
    #[derive(Debug, Default)]
    struct Moody(Mutex<u32>);

    impl SpanExporter for Moody {
        async fn export(&self, _batch: Vec<SpanData>) -> OTelSdkResult {
            if self.0.lock().unwrap().is_multiple_of(2) {
                Ok(())
            } else {
                Err(OTelSdkError::InternalFailure("away".to_owned()))
            }
        }
    }

    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Log {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn a_collector_that_is_away_is_told_once_and_so_is_its_return() {
        let log = Log::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt().with_writer(move || writer.clone()).with_ansi(false).finish();
        let _guard = tracing::subscriber::set_default(subscriber);
        let watched = Watched::new(Moody::default());
        for mood in [0, 1, 1, 1, 2, 2, 3] {
            *watched.exporter.0.lock().unwrap() = mood;
            assert_eq!(watched.export(Vec::new()).await.is_ok(), mood % 2 == 0, "the result is passed on");
        }
        let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
        let lines: Vec<_> = text.lines().map(|line| if line.contains("cannot") { "away" } else { "back" }).collect();
        assert_eq!(lines, ["away", "back", "away"], "{text}");
    }
}
