//! `orchestra server`: a control plane without nodes, all of it or parts.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use kube::Client;
use orchestra::cluster::{Leadership, Part};
use orchestra::controllers::Controllers;
use orchestra::scheduler::{PluginRegistry, Scheduler};
use tokio_util::sync::CancellationToken;

use crate::client::Target;
use crate::failure::Failure;
use crate::leader_elect::LeaderElect;
use crate::signals::Signals;
use crate::up::{self, Place};

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Component {
    Apiserver,
    Controllers,
    Scheduler,
}

#[derive(Args, Debug)]
pub(crate) struct Server {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    target: Target,
    /// Which parts; those without an API server of their own use the one of the kubeconfig.
    #[arg(long, value_delimiter = ',', default_value = "apiserver,controllers,scheduler")]
    components: Vec<Component>,
    /// A KubeSchedulerConfiguration for the scheduler.
    #[arg(long, value_name = "FILE")]
    scheduler_config: Option<PathBuf>,
    #[command(flatten)]
    leader_elect: LeaderElect,
}

impl Server {
    fn scheduler(&self) -> Result<Scheduler, Failure> {
        let Some(path) = &self.scheduler_config else { return Ok(Scheduler::default()) };
        let shown = path.display().to_string();
        let text =
            std::fs::read_to_string(path).map_err(|problem| Failure::of(format!("{shown}: {problem}")))?;
        Scheduler::from_config(&text, &shown, &PluginRegistry::default())
            .map_err(|problem| Failure::of(problem.to_string()))
    }
}

pub(crate) async fn run(arguments: Server) -> Result<(), Failure> {
    let has = |component| arguments.components.contains(&component);
    let scheduler = has(Component::Scheduler).then(|| arguments.scheduler()).transpose()?;
    let timing = arguments.leader_elect.timing()?;
    if !has(Component::Apiserver) {
        let leadership = arguments.leader_elect.leadership()?;
        let client = arguments.target.connect().await?.client;
        return beside(client, has(Component::Controllers), scheduler, leadership).await;
    }
    let mut builder = up::open(&arguments.place).await?.without_nodes();
    if !has(Component::Controllers) {
        builder = builder.without_controllers();
    }
    builder = match scheduler {
        Some(scheduler) => builder.scheduler(scheduler),
        None => builder.without_scheduler(),
    };
    builder = match timing {
        Some(timing) => builder.leader_election(timing),
        None => builder.without_leader_election(),
    };
    let mut signals = Signals::listen()?;
    let cluster = up::start(builder).await?;
    up::run_until_told(cluster, &mut signals, async |cluster| {
        if let (Some(kubeconfig), Some(address)) = (cluster.kubeconfig(), cluster.address()) {
            println!("ready kubeconfig={} api=https://{address}", kubeconfig.display());
        }
        Ok(())
    })
    .await
}

/// Runs parts beside an API server elsewhere until told to stop.
async fn beside(
    client: Client,
    controllers: bool,
    scheduler: Option<Scheduler>,
    leadership: Leadership,
) -> Result<(), Failure> {
    let shutdown = CancellationToken::new();
    let stop = shutdown.clone();
    let mut signals = Signals::listen()?;
    let signals = async move {
        signals.told_to_stop().await;
        stop.cancel();
        Ok(())
    };
    let manage = async {
        if controllers {
            let work = |shutdown| Controllers::all().run(client.clone(), shutdown);
            let ended = leadership.run(Part::Controllers, client.clone(), shutdown.clone(), work).await;
            ended.map_err(|problem| Failure::of(format!("controllers: {problem}")))?;
        }
        Ok(())
    };
    let schedule = async {
        if let Some(scheduler) = scheduler {
            let work = |shutdown| scheduler.clone().run(client.clone(), shutdown);
            let ended = leadership.run(Part::Scheduler, client.clone(), shutdown.clone(), work).await;
            ended.map_err(|problem| Failure::of(format!("scheduler: {problem}")))?;
        }
        Ok(())
    };
    tokio::try_join!(signals, manage, schedule).map(|_| ())
}
