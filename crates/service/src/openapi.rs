//! OpenAPI generated from the code, and the page that shows it.

use axum::Router;
use utoipa::PartialSchema;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{ComponentsBuilder, LicenseBuilder, OpenApi, OpenApiBuilder};
use utoipa_axum::router::OpenApiRouter;

/// The beginning of a service's document whose routes may name the security scheme `session`: the
/// bearer token that `identity` gives.
#[must_use]
pub fn with_sessions<S>() -> OpenApiRouter<S>
where
    S: Clone + Send + Sync + 'static,
{
    let token = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
    let components = ComponentsBuilder::new()
        .security_scheme("session", SecurityScheme::Http(token))
        .build();
    OpenApiRouter::with_openapi(OpenApiBuilder::new().components(Some(components)).build())
}

/// Splits a service's documented routes into a plain router that also serves
/// `/api/<name>/openapi.json` and, for people, `/api/<name>/docs/`.
pub fn documented<S>(
    name: &str,
    title: &str,
    description: &str,
    routes: OpenApiRouter<S>,
) -> Router<S>
where
    S: Clone + Send + Sync + 'static,
{
    let (router, mut api) = routes.split_for_parts();
    title.clone_into(&mut api.info.title);
    api.info.description = Some(description.to_owned());
    env!("CARGO_PKG_VERSION").clone_into(&mut api.info.version);
    let license = LicenseBuilder::new().name(env!("CARGO_PKG_LICENSE"));
    api.info.license = Some(license.build());
    // Else it is that of whoever wrote the generator.
    api.info.contact = None;
    // The answers that routes share name it, and do not bring it along.
    let components = api.components.get_or_insert_default();
    components
        .schemas
        .entry("Problem".to_owned())
        .or_insert_with(problem::Body::schema);
    router.merge(pages(name, api))
}

fn pages<S>(name: &str, api: OpenApi) -> Router<S>
where
    S: Clone + Send + Sync + 'static,
{
    utoipa_swagger_ui::SwaggerUi::new(format!("/api/{name}/docs"))
        .url(format!("/api/{name}/openapi.json"), api)
        .into()
}

#[cfg(test)]
mod tests {
    use axum::body::{Body, to_bytes};
    use axum::http::Request;
    use tower::ServiceExt;

    use super::*;

    #[tokio::test]
    async fn the_document_has_what_shared_answers_refer_to() {
        let router: Router = documented("x", "X", "", OpenApiRouter::new());
        let request = Request::get("/api/x/openapi.json")
            .body(Body::empty())
            .unwrap();
        let answer = router.oneshot(request).await.unwrap();
        let document = to_bytes(answer.into_body(), 1 << 20).await.unwrap();
        let document = String::from_utf8(document.to_vec()).unwrap();
        assert!(
            document.contains("\"schemas\":{\"Problem\":{"),
            "{document}"
        );
        assert!(!document.contains("\"contact\""), "{document}");
        assert!(
            document.contains("\"license\":{\"name\":\"MIT OR Apache-2.0\"}"),
            "{document}"
        );
    }
}
