"""Which of our providers a catalogue's provider is, and what else providers are called."""

from __future__ import annotations

CLAUDE_PROVIDERS = ("anthropic", "anthropic-aws", "bedrock", "vertex", "foundry")

# Provider names of the catalogues that are not ours already. Google's models cost the same on both its APIs.
_VENDORS = {
    "aws": ("bedrock",),
    "azure": ("azure-openai",),
    "azure_ai": ("foundry",),
    "azure_text": ("azure-openai",),
    "bedrock_converse": ("bedrock",),
    "bedrock_mantle": ("bedrock",),
    "cohere_chat": ("cohere",),
    "fireworks_ai": ("fireworks",),
    "google": ("gemini", "vertex"),
    "moonshot": ("moonshotai",),
    "text-completion-openai": ("openai",),
    "together_ai": ("together",),
    "vertex_ai": ("vertex",),
    "voyage": ("voyageai",),
    "xai": ("x-ai",),
}

# What a record or a file may call a provider: the catalogues' names and Portkey's slugs.
ALIASES = {
    "aws": "bedrock",
    "aws-bedrock": "bedrock",
    "azure": "azure-openai",
    "azure-ai": "foundry",
    "azure-ai-foundry": "foundry",
    "bedrock-converse": "bedrock",
    "claude": "anthropic",
    "fireworks-ai": "fireworks",
    "google": "gemini",
    "google-vertex": "vertex",
    "mistral-ai": "mistral",
    "mistralai": "mistral",
    "moonshot": "moonshotai",
    "novita-ai": "novita",
    "perplexity-ai": "perplexity",
    "together-ai": "together",
    "vertex-ai": "vertex",
    "vertexai": "vertex",
    "voyage": "voyageai",
    "xai": "x-ai",
}


def vendors_of(source_provider: str) -> tuple[str, ...]:
    """Give our names of a catalogue's provider; Vertex AI's publishers are all one provider."""
    if source_provider.startswith("vertex_ai-"):
        return () if "anthropic" in source_provider else ("vertex",)
    return _VENDORS.get(source_provider, (source_provider.replace("_", "-"),))
