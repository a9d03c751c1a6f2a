//! The worker with a signer: RSA-2048, as DKIM has it (RFC 6376, section 3.3.1), by aws-lc.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use anyhow::{Context as _, bail};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::RSA_PKCS1_SHA256;
use data_encoding::BASE64;
use paperround::app::{App, World};
use paperround::config::{Config, Sources};
use paperround::worker;
use paperround::worker::signing::Signer;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::options::WorkerArgs;
use super::process::Process;
use super::stage::Stage;

/// A signature over the whole message, in a field of the length that DKIM's has.
struct Rsa(KeyPair);

impl Rsa {
    fn new() -> anyhow::Result<Self> {
        let key = KeyPair::generate(KeySize::Rsa2048);
        Ok(Self(key.ok().context("no key can be made")?))
    }
}

impl Signer for Rsa {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, String> {
        let mut signature = vec![0; self.0.public_modulus_len()];
        self.0
            .sign(
                &RSA_PKCS1_SHA256,
                &SystemRandom::new(),
                message,
                &mut signature,
            )
            .map_err(|error| error.to_string())?;
        let mut field =
            b"DKIM-Signature: v=1; a=rsa-sha256; d=world-review.org; s=bench;\r\n".to_vec();
        for line in BASE64.encode(&signature).as_bytes().chunks(70) {
            field.extend_from_slice(b" ");
            field.extend_from_slice(line);
            field.extend_from_slice(b"\r\n");
        }
        Ok(field)
    }
}

/// Starts it as a process of its own, on the data of `stage`.
pub(crate) fn spawn(
    stage: &Stage,
    settings: &[(&'static str, String)],
    threads: usize,
) -> anyhow::Result<Process> {
    let mut command = Process::command(std::env::current_exe()?);
    command
        .arg("worker")
        .args(["--threads", &threads.to_string()]);
    for (key, value) in stage.settings().iter().chain(settings) {
        command.args(["--set", &format!("{key}={value}")]);
    }
    Process::spawn("the worker with a signer", command)
}

/// What that process does, until SIGTERM.
pub(crate) async fn run(worker: &WorkerArgs) -> anyhow::Result<()> {
    let mut sources = Sources::default();
    for setting in &worker.settings {
        let Some((key, value)) = setting.split_once('=') else {
            bail!("{setting} is no setting");
        };
        sources = sources.with(key, value.to_owned());
    }
    let app = Arc::new(App::open(Config::load(&sources)?, World::system()).await?);
    let lock = app.db.lock_worker().await?;
    let signer: Arc<dyn Signer> = Arc::new(Rsa::new()?);
    let prepared = worker::prepare_signed(app.clone(), &signer, worker.threads).await?;
    let (stop, mut term) = (CancellationToken::new(), signal(SignalKind::terminate())?);
    let until = async {
        term.recv().await;
        stop.cancel();
    };
    tokio::join!(prepared.run(lock, stop.clone()), until);
    app.db.close().await;
    Ok(())
}

/// Signs `message` on so many threads for as long as `work` takes. How often in a second.
pub(crate) async fn beside<T>(
    work: impl Future<Output = anyhow::Result<T>>,
    message: Vec<u8>,
    threads: usize,
) -> anyhow::Result<(T, f64)> {
    let (rsa, message) = (Arc::new(Rsa::new()?), Arc::new(message));
    let (signed, is_over) = (Arc::<AtomicU64>::default(), Arc::<AtomicBool>::default());
    let began = Instant::now();
    let signers: Vec<_> = (0..threads)
        .map(|_| {
            let (rsa, message) = (rsa.clone(), message.clone());
            let (signed, is_over) = (signed.clone(), is_over.clone());
            thread::spawn(move || {
                while !is_over.load(Ordering::Relaxed) {
                    rsa.sign(&message)?;
                    signed.fetch_add(1, Ordering::Relaxed);
                }
                Ok::<_, String>(())
            })
        })
        .collect();
    let done = work.await;
    let took = began.elapsed().as_secs_f64();
    is_over.store(true, Ordering::Relaxed);
    for signer in signers {
        match signer.join() {
            Ok(Ok(())) => {}
            Ok(Err(why)) => bail!(why),
            Err(_) => bail!("a signing thread failed"),
        }
    }
    let signed = u32::try_from(signed.load(Ordering::Relaxed)).unwrap_or(u32::MAX);
    Ok((done?, f64::from(signed) / took))
}
