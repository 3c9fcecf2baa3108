//! A network for twins alone, beside the project's: whoever stands in both can be cut off one of
//! them and still be reached over the other.

use anyhow::Context;
use bollard::Docker;
use bollard::models::NetworkCreateRequest;
use bollard::query_parameters::InspectNetworkOptions;

use super::Project;
use super::twin::TWIN;

/// A network for twins.
#[derive(Clone, Debug)]
pub struct TwinNetwork {
    engine: Docker,
    /// Its name, for the engine.
    pub name: String,
}

impl Project {
    /// Makes the network for twins of this project, of which there is one at a time. What was left
    /// of an earlier one goes first, with all twins. It leads nowhere else.
    ///
    /// # Errors
    /// The engine refuses.
    pub async fn twin_network(&self) -> anyhow::Result<TwinNetwork> {
        for twin in self.containers(TWIN).await? {
            twin.remove().await?;
        }
        // It lacks the project's label: what joins the stack's networks stays out of it.
        let network = TwinNetwork {
            engine: self.engine().clone(),
            name: format!("{}_{TWIN}", self.name()),
        };
        let options = None::<InspectNetworkOptions>;
        let left = network.engine.inspect_network(&network.name, options).await;
        if left.is_ok() {
            network.remove().await?;
        }
        let request = NetworkCreateRequest {
            name: network.name.clone(),
            internal: Some(true),
            ..Default::default()
        };
        network
            .engine
            .create_network(request)
            .await
            .with_context(|| network.name.clone())?;
        Ok(network)
    }
}

impl TwinNetwork {
    /// Removes it; no twin may be there any more.
    ///
    /// # Errors
    /// The engine refuses.
    pub async fn remove(&self) -> anyhow::Result<()> {
        self.engine
            .remove_network(&self.name)
            .await
            .with_context(|| self.name.clone())
    }
}
