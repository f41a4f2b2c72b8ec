//! The server as a `kube::Client`, without a socket.

use http::Request;
use tower::ServiceExt;

use crate::auth::User;
use crate::server::ApiServer;

impl ApiServer {
    /// A client inside this process, who is `system:admin` and may do everything.
    ///
    /// Must be called within a tokio runtime.
    pub fn client(&self, default_namespace: impl Into<String>) -> kube::Client {
        self.client_as(User::admin(), default_namespace)
    }

    /// A client inside this process for a given user.
    pub fn client_as(&self, user: User, default_namespace: impl Into<String>) -> kube::Client {
        let service = self.clone().map_request(move |mut request: Request<kube::client::Body>| {
            request.extensions_mut().insert(user.clone());
            request
        });
        kube::Client::new(service, default_namespace)
    }
}
