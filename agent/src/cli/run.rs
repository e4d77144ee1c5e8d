//! `eastwatch-agent run`: capture until told to stop.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

use crate::capture::{Capture, Sinks};
use crate::config::Config;
use crate::control::server::ControlSocket;
use crate::export::{ExportOptions, Exporter};
use crate::metrics;
use crate::spool::{Identity, SharedSpool, Spool, SpoolOptions};
use crate::status::Published;
use crate::tap::Taps;

/// Runs the agent.
///
/// # Errors
/// What keeps it from working, with the remedy.
pub async fn run(config: Config) -> Result<()> {
    // Before anything is open: a signal from now on stops in order.
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;

    let identity = Identity::new(config.node.name.as_deref())?;
    let control = ControlSocket::bind(&config.control.socket)?;
    let listener = metrics::bind(config.metrics.listen).await?;
    let metrics_address = listener
        .local_addr()
        .context("reading the address of the metrics")?;
    let spool = Spool::open(SpoolOptions {
        max_bytes: config.spool.bytes_max,
        ..SpoolOptions::new(&config.spool.dir)
    })?;
    let exporter = Exporter::new(
        ExportOptions::new(&config.collector.url),
        SharedSpool::new(spool),
        identity.clone(),
        env!("CARGO_PKG_VERSION"),
    )?;

    let (published, taps) = (Published::default(), Taps::default());
    let sinks = Sinks {
        outbox: Some(exporter.outbox()),
        export: Some((config.collector.url.clone(), exporter.monitor())),
        policy: exporter.policy(),
        taps: taps.clone(),
        published: published.clone(),
    };
    let (stop_export, export_stopped) = oneshot::channel::<()>();
    let capture = {
        let (config, identity) = (config.clone(), identity.clone());
        tokio::task::spawn_blocking(move || Capture::start(&config, &identity.node, &identity.boot, sinks))
            .await
            .context("starting to capture")??
    };
    let exporting = tokio::spawn(exporter.run(async move {
        // A sender that is gone means the same.
        let _ = export_stopped.await;
    }));
    let serving = tokio::spawn(metrics::serve(listener, published.clone()));
    let answering = tokio::spawn(control.serve(published, taps));

    let stop = Arc::new(AtomicBool::new(false));
    let (ended, mut capture_ended) = oneshot::channel();
    let thread = {
        let stop = Arc::clone(&stop);
        std::thread::Builder::new()
            .name("capture".to_owned())
            .spawn(move || {
                capture.run(&stop);
                let _ = ended.send(());
            })
            .context("starting the capture thread")?
    };
    // For whoever started it.
    writeln!(
        std::io::stdout(),
        "listening metrics=http://{metrics_address} control={}",
        config.control.socket.display()
    )?;

    let mut early = false;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        _ = &mut capture_ended => early = true,
    }
    tracing::info!("stopping");
    stop.store(true, Ordering::Release);
    thread.thread().unpark();
    let captured = tokio::task::spawn_blocking(move || thread.join()).await;
    // After the capture's last payload: what is in the spool goes out, for a bounded time.
    let _ = stop_export.send(());
    exporting.await.context("ending the export")?;
    serving.abort();
    answering.abort();
    // Its file is removed when the task is gone.
    let _ = answering.await;
    match captured {
        Ok(Ok(())) if !early => Ok(()),
        _ => anyhow::bail!(
            "the capture thread ended by itself: this is a defect, please report it with the log"
        ),
    }
}
