"""What the admin plane says of itself."""

from farebox.http.admin.app import ERROR
from tests.http.admin.plane import Plane


async def test_the_description_names_the_key_the_errors_and_the_body_of_apply(plane: Plane) -> None:
    described = await plane.ask("GET", "/admin/openapi.json")
    schemes = described["components"]["securitySchemes"]
    assert [(each["type"], each.get("scheme") or each.get("name")) for each in schemes.values()] == [
        ("http", "bearer"),
        ("apiKey", "x-portkey-api-key"),
    ]
    assert described["security"] == [{name: []} for name in schemes]
    assert described["components"]["schemas"]["Error"] == ERROR
    operations = [each for path in described["paths"].values() for each in path.values()]
    assert all({"400", "401"} <= set(each["responses"]) for each in operations)
    assert not any("422" in each["responses"] for each in operations)
    assert "ValidationError" not in str(described)
    body = described["paths"]["/v1/apply"]["post"]["requestBody"]
    assert (body["required"], list(body["content"])) == (True, ["application/yaml", "application/json"])


async def test_every_reference_of_the_description_leads_somewhere(plane: Plane) -> None:
    described = await plane.ask("GET", "/admin/openapi.json")
    names = {
        part.partition('"')[0] for part in str(described).replace("'", '"').split("#/components/schemas/")[1:]
    }
    assert names <= set(described["components"]["schemas"])
    assert "Error" in names
