//! Docker, with a real engine.

use super::daemon::Daemon;
use super::shared::{busybox, pull_whole};
use portolan_chaos_tests::cluster::{Cluster, Options};
use portolan_chaos_tests::tool::{self, Home};
use portolan_chaos_tests::{Result, image::Image};

/// An engine and how it is asked.
struct Docker {
    daemon: Daemon,
    host: String,
}

impl Docker {
    async fn start() -> Result<Self> {
        let home = Home::new()?;
        let path = |name: &str| home.path().join(name).to_string_lossy().into_owned();
        let (data, exec, pid, host) = (path("data"), path("exec"), path("pid"), format!("unix://{}", path("socket")));
        let arguments = ["--data-root", &data, "--exec-root", &exec, "--pidfile", &pid, "--host", &host];
        let arguments = [&["--bridge=none", "--iptables=false"], &arguments[..]].concat();
        let ready = ["docker", "--host", &host, "version"];
        let daemon = Daemon::start(home, "dockerd", &arguments, &ready).await?;
        Ok(Self { daemon, host })
    }

    async fn run(&self, arguments: &[&str]) -> Result<String> {
        self.daemon.home().run("docker", &[&["--host", &self.host], arguments].concat()).await
    }

    /// Makes an image of one layer, which [`Docker::digest_of`] a push names.
    async fn import(&self, image: &Image, change: &str, name: &str) -> Result<()> {
        std::fs::write(self.daemon.home().path().join("root.tar"), &image.layers[0].bytes)?;
        self.run(&["import", "--change", change, "root.tar", name]).await.map(|_| ())
    }

    /// What `docker pull` and `docker push` print as `digest: sha256:…`.
    async fn digest_of(&self, arguments: &[&str]) -> Result<String> {
        let output = self.run(arguments).await?.to_lowercase();
        let found = output.split_whitespace().find(|word| word.starts_with("sha256:") && word.len() == 71);
        Ok(found.ok_or_else(|| format!("no digest in {output}"))?.to_owned())
    }

    /// Pulls what the engine holds nothing of, forgets it again, and gives its digest.
    async fn pull_afresh(&self, name: &str) -> Result<String> {
        let output = self.run(&["pull", name]).await?;
        assert!(output.contains("Pull complete") && !output.contains("Already exists"), "no layer travelled: {output}");
        let digest = self.run(&["inspect", "--format", "{{index .RepoDigests 0}}", name]).await?;
        self.run(&["rmi", "--force", name]).await?;
        let digest = digest.trim().rsplit('@').next().unwrap_or_default().to_owned();
        Ok(digest)
    }
}

/// `localhost:5001/name`: the engine takes plain HTTP from localhost without being told.
fn docker_name(cluster: &Cluster, node: usize, name: &str) -> Result<String> {
    let address = &cluster.nodes()[node].registry;
    let port = address.rsplit(':').next().ok_or("an address without a port")?;
    Ok(format!("localhost:{port}/{name}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn docker_pushes_in_one_region_and_pulls_in_the_others() -> Result<()> {
    const NAME: &str = "docker_pushes_in_one_region_and_pulls_in_the_others";
    if !tool::have("dockerd", NAME) || !tool::is_root(NAME) {
        return Ok(());
    }
    let mut cluster = Cluster::start(Options::patient()).await?;
    let docker = Docker::start().await?;
    let image = busybox("amd64").await?;
    let near = docker_name(&cluster, 0, "team/app:v1")?;
    docker.import(&image, "CMD [\"/bin/ls\"]", &near).await?;
    let pushed = docker.digest_of(&["push", &near]).await?;
    docker.run(&["rmi", "--force", &near]).await?;
    for node in [1, 2] {
        assert_eq!(pull_whole(&cluster, node, "team/app", "v1").await?, pushed, "at node {node}");
        let far = docker_name(&cluster, node, "team/app:v1")?;
        assert_eq!(docker.pull_afresh(&far).await?, pushed, "at node {node}");
    }

    // The region it was pushed in dies; another takes the next push and the last serves it.
    cluster.kill(0).await?;
    let (second, last) = (docker_name(&cluster, 1, "team/app:v2")?, docker_name(&cluster, 2, "team/app:v2")?);
    cluster.wait_writable(1).await?;
    docker.import(&image, "CMD [\"/bin/sh\"]", &second).await?;
    let later = docker.digest_of(&["push", &second]).await?;
    assert_ne!(later, pushed);
    docker.run(&["rmi", "--force", &second]).await?;
    assert_eq!(docker.pull_afresh(&last).await?, later);
    cluster.restart(0)?;
    cluster.wait_ready(0).await?;
    let first = docker_name(&cluster, 0, "team/app:v2")?;
    assert_eq!(docker.pull_afresh(&first).await?, later);
    docker.daemon.stop().await?;
    cluster.stop().await?;
    Ok(())
}
