//! OpenAPI 3.0 documents from what is known of an API.

use std::collections::BTreeSet;

use openapiv3::{
    Info, IntegerType, NumberType, OpenAPI, Operation, Parameter, ParameterData, ParameterSchemaOrContent,
    PathItem, PathStyle, ReferenceOr, Response, Schema, SchemaData, SchemaKind, Server, StatusCode,
    StringFormat, StringType, Type, VariantOrUnknownOrEmpty,
};

use crate::endpoint::PathParameter;
use crate::{ApiCatalog, Endpoint, Method, SegmentType, StatusClass};

/// Version of OpenAPI that documents are of.
const OPENAPI_VERSION: &str = "3.0.3";

/// The document of the endpoints that ever answered other than 4xx: the others may be inventions of a scanner. `None` when there are
/// none. `servers` are the URLs of the API.
///
/// Methods that OpenAPI has no place for are named in `x-other-methods` of their path.
#[must_use]
pub fn openapi(api: &ApiCatalog, title: &str, servers: &[String]) -> Option<OpenAPI> {
    let mut document = OpenAPI {
        openapi: OPENAPI_VERSION.to_owned(),
        info: Info {
            title: title.to_owned(),
            version: "0".to_owned(),
            ..Info::default()
        },
        servers: servers
            .iter()
            .map(|url| Server {
                url: url.clone(),
                ..Server::default()
            })
            .collect(),
        ..OpenAPI::default()
    };
    let mut others = BTreeSet::new();
    // Sorted by template and method.
    for endpoint in api.endpoints() {
        if !endpoint.confirmed || !endpoint.template.starts_with('/') {
            continue;
        }
        let item = document
            .paths
            .paths
            .entry(endpoint.template.clone())
            .or_insert_with(|| ReferenceOr::Item(PathItem::default()));
        let ReferenceOr::Item(item) = item else {
            continue;
        };
        match place(item, endpoint.method) {
            Some(place) => *place = Some(operation(api, &endpoint)),
            None => {
                others.insert((endpoint.template.clone(), endpoint.method.as_str()));
            }
        }
    }
    for (template, method) in others {
        if let Some(ReferenceOr::Item(item)) = document.paths.paths.get_mut(&template) {
            let methods = item
                .extensions
                .entry("x-other-methods".to_owned())
                .or_insert_with(|| serde_json::Value::Array(Vec::new()));
            if let serde_json::Value::Array(methods) = methods {
                methods.push(method.into());
            }
        }
    }
    (!document.paths.paths.is_empty()).then_some(document)
}

fn place(item: &mut PathItem, method: Method) -> Option<&mut Option<Operation>> {
    Some(match method {
        Method::Get => &mut item.get,
        Method::Put => &mut item.put,
        Method::Post => &mut item.post,
        Method::Delete => &mut item.delete,
        Method::Options => &mut item.options,
        Method::Head => &mut item.head,
        Method::Patch => &mut item.patch,
        Method::Trace => &mut item.trace,
        _ => return None,
    })
}

fn operation(api: &ApiCatalog, endpoint: &Endpoint) -> Operation {
    let mut operation = Operation {
        parameters: api
            .path_parameters(endpoint)
            .into_iter()
            .map(|parameter| ReferenceOr::Item(path_parameter(parameter)))
            .collect(),
        ..Operation::default()
    };
    for (class, calls) in endpoint.stats.calls.iter() {
        let (range, description) = match class {
            StatusClass::None => continue,
            StatusClass::Informational => (1, "Interim response"),
            StatusClass::Success => (2, "Success"),
            StatusClass::Redirect => (3, "Redirection"),
            StatusClass::ClientError => (4, "Client error"),
            StatusClass::ServerError => (5, "Server error"),
        };
        if calls > 0 {
            let response = Response {
                description: description.to_owned(),
                ..Response::default()
            };
            let responses = &mut operation.responses.responses;
            responses.insert(StatusCode::Range(range), ReferenceOr::Item(response));
        }
    }
    if operation.responses.responses.is_empty() {
        operation.responses.default = Some(ReferenceOr::Item(Response {
            description: "Not seen".to_owned(),
            ..Response::default()
        }));
    }
    operation
}

fn path_parameter(parameter: PathParameter) -> Parameter {
    Parameter::Path {
        style: PathStyle::Simple,
        parameter_data: ParameterData {
            name: parameter.name,
            description: None,
            required: true,
            deprecated: None,
            format: ParameterSchemaOrContent::Schema(ReferenceOr::Item(schema(&parameter.types))),
            example: None,
            examples: Default::default(),
            explode: None,
            extensions: Default::default(),
        },
    }
}

/// The schema that all values of these types fit.
fn schema(types: &BTreeSet<SegmentType>) -> Schema {
    use SegmentType::{Date, Email, Integer, Number, Timestamp, Uuid};
    let only = |allowed: &[SegmentType]| !types.is_empty() && types.iter().all(|kind| allowed.contains(kind));
    let string = |format| {
        Type::String(StringType {
            format,
            ..StringType::default()
        })
    };
    let known = |format| string(VariantOrUnknownOrEmpty::Item(format));
    let named = |format: &str| string(VariantOrUnknownOrEmpty::Unknown(format.to_owned()));
    let kind = if only(&[Timestamp]) {
        known(StringFormat::DateTime)
    } else if only(&[Integer, Timestamp]) {
        // Among numbers, some of the size of an epoch.
        Type::Integer(IntegerType::default())
    } else if only(&[Integer, Number]) {
        Type::Number(NumberType::default())
    } else if only(&[Date]) {
        known(StringFormat::Date)
    } else if only(&[Uuid]) {
        named("uuid")
    } else if only(&[Email]) {
        named("email")
    } else {
        Type::String(StringType::default())
    };
    Schema {
        schema_data: SchemaData::default(),
        schema_kind: SchemaKind::Type(kind),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::tests::CALL;
    use crate::{ApiKey, Limits, NodeCatalog, Observation, Side};

    fn catalog(calls: &[(&str, &str, u16)]) -> ApiCatalog {
        let api = ApiKey {
            workload: String::new(),
            host: "shop.test".to_owned(),
            side: Side::Server,
        };
        let mut node = NodeCatalog::new(Limits::default());
        for (method, path, status) in calls {
            let observation = Observation {
                method,
                path: path.as_bytes(),
                status: Some(*status),
                ..CALL
            };
            node.observe(&api, &observation);
        }
        let mut merged = ApiCatalog::new(api, Limits::default());
        for delta in node.take_delta() {
            merged.merge(&delta);
        }
        merged
    }

    #[test]
    fn typed_parameters_and_classes() {
        let api = catalog(&[
            ("GET", "/users/1", 200),
            ("GET", "/users/2", 404),
            (
                "GET",
                "/orders/8dbc5577-d0e2-4706-8787-57d52c03ddf2/items/2024-01-02",
                200,
            ),
            ("DELETE", "/users/1", 503),
            ("PROPFIND", "/users/1", 207),
            ("GET", "/wp-admin/setup.php", 404),
            ("OPTIONS", "*", 200),
        ]);
        let document = openapi(&api, "shop.test", &["http://shop.test".to_owned()]).unwrap();
        let json = serde_json::to_value(&document).unwrap();
        let paths: Vec<&str> = json["paths"]
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        assert_eq!(paths, ["/orders/{order_id}/items/{date}", "/users/{user_id}"]);
        let users = &json["paths"]["/users/{user_id}"];
        assert_eq!(users["x-other-methods"], serde_json::json!(["PROPFIND"]));
        assert_eq!(
            users["get"],
            serde_json::json!({
                "parameters": [{"in": "path", "name": "user_id", "required": true, "schema": {"type": "integer"}, "style": "simple"}],
                "responses": {"2XX": {"description": "Success"}, "4XX": {"description": "Client error"}}
            })
        );
        assert_eq!(
            users["delete"]["responses"],
            serde_json::json!({"5XX": {"description": "Server error"}})
        );
        let of_order =
            |at: usize| &json["paths"]["/orders/{order_id}/items/{date}"]["get"]["parameters"][at]["schema"];
        assert_eq!(of_order(0)["format"], "uuid");
        assert_eq!(of_order(1)["format"], "date");
        assert_eq!(json["servers"][0]["url"], "http://shop.test");
    }

    #[test]
    fn nothing_confirmed_is_no_document() {
        assert_eq!(openapi(&catalog(&[("GET", "/users/1", 404)]), "t", &[]), None);
    }

    #[test]
    fn schemas() {
        use SegmentType::{Date, Hex, Integer, Number, Text, Timestamp, Uuid};
        for (types, expect) in [
            (&[][..], serde_json::json!({"type": "string"})),
            (&[Integer], serde_json::json!({"type": "integer"})),
            (&[Integer, Timestamp], serde_json::json!({"type": "integer"})),
            (
                &[Timestamp],
                serde_json::json!({"type": "string", "format": "date-time"}),
            ),
            (&[Integer, Number], serde_json::json!({"type": "number"})),
            (&[Integer, Text], serde_json::json!({"type": "string"})),
            (&[Uuid], serde_json::json!({"type": "string", "format": "uuid"})),
            (&[Date], serde_json::json!({"type": "string", "format": "date"})),
            (&[Hex, Uuid], serde_json::json!({"type": "string"})),
        ] {
            let types = types.iter().copied().collect();
            assert_eq!(serde_json::to_value(schema(&types)).unwrap(), expect, "{types:?}");
        }
    }
}
