"""A build from the request to its results: checks, the images for each platform, outputs."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from composer.engine.builds.attestation_options import parse_attestations
from composer.engine.builds.builder import Builder, Session
from composer.engine.builds.builds import Built, Warn
from composer.engine.builds.contexts import Contexts
from composer.engine.builds.exporting import Exporter
from composer.engine.builds.options import BuildOptions
from composer.engine.builds.outputs import Output, parse_output
from composer.engine.builds.prepare import prepare
from composer.engine.builds.requests import EPOCH, ImageBuild
from composer.engine.builds.workshop import Tell
from runtime.build.frontend.checks.check import check_dockerfile, checking_of, unused_arguments
from runtime.build.frontend.checks.rules import Finding
from runtime.build.frontend.lines import DockerfileError
from runtime.build.frontend.outline import list_targets, outline
from runtime.build.frontend.stages import Dockerfile, parse_dockerfile, platform_arguments
from runtime.container.config import ImageConfig
from runtime.errors import InvalidArgument
from runtime.image.store import ImageStore


@dataclass(frozen=True)
class RequestedBuild:
    """Does what is asked for with a builder."""

    builder: Builder
    images: ImageStore
    contexts: Contexts

    async def run(self, request: ImageBuild, tell: Tell, warn: Warn, session: Session | None = None) -> Built:
        """Do it. Raises ComposerErrors: mistakes in files, failed steps, what is not supported."""
        outputs = _outputs(request)
        epoch = _epoch(request)
        async with AsyncExitStack() as held:
            prepared = await prepare(request, self.contexts, self.images, held)
            options = prepared.options
            own = self.images.platform_of("")
            targets = list(dict.fromkeys(self.images.platform_of(text) for text in request.platforms)) or [
                own
            ]
            arguments = platform_arguments(str(targets[0]), str(own))
            file = parse_dockerfile(options.dockerfile, options.arguments, arguments, options.file)
            if file.directives.syntax:
                await tell_syntax(file, tell)
            if request.call != "build":
                return self._looked_at(request.call, file, options, arguments)
            products = []
            for target in targets:
                name = str(target) if len(targets) > 1 else ""
                one = replace(options, tags=(), platform=str(target) if target != own else "", epoch=epoch)
                products.append(await self.builder.build(one, _named(tell, name), session))
            findings = self._check(file, options, arguments)
            if not request.quiet:
                await self._report(file, options, arguments, findings, warn)
            if findings and checking_of(file, options.arguments).is_error:
                rules = ", ".join(sorted({finding.rule.name for finding in findings}))
                raise DockerfileError(f"lint violation found for rules: {rules}")
            exporter = Exporter(self.images, products, options.tags, options.credentials, epoch)
            for output in outputs:
                await exporter.export(output)
            if prepared.commit:
                exporter.metadata["composer.context.commit"] = prepared.commit
            for warning in exporter.warnings:
                await warn(warning)
            return Built(
                tuple(product.image for product in products),
                exporter.metadata,
                findings,
                outputs=tuple(outputs),
            )

    def _looked_at(
        self, call: str, file: Dockerfile, options: BuildOptions, platform: Mapping[str, str]
    ) -> Built:
        """The answer to a call that builds nothing. Raises NotFound, DockerfileError, InvalidArgument."""
        text = base64.b64encode(options.dockerfile.encode()).decode()
        match call:
            case "check":
                source = {"filename": Path(options.file).name, "language": "Dockerfile", "data": text}
                return Built(findings=self._check(file, options, platform), document={"sources": [source]})
            case "outline":
                found = outline(file, options.target, options.arguments, platform)
            case "targets":
                found = list_targets(file)
            case _:
                raise InvalidArgument(f"unknown call {call!r}: there are build, check, outline, targets")
        return Built(document={**found, "sources": [text]})

    def _check(
        self, file: Dockerfile, options: BuildOptions, platform: Mapping[str, str]
    ) -> tuple[Finding, ...]:
        """What is suspicious, as far as base images are here."""
        known: dict[str, ImageConfig] = {}
        platforms: dict[str, str] = {}
        own = str(self.images.platform_of(""))
        for stage in file.stages:
            if stage.base != "scratch" and file.before(stage, stage.base) is None:
                name = options.contexts.get(stage.base, stage.base).removeprefix("docker-image://")
                try:
                    image = self.images.resolve(name)
                except InvalidArgument:
                    continue
                if image is not None:
                    known[stage.base] = image.config
                    if (stage.platform or platform["TARGETPLATFORM"]) == own:
                        platforms[stage.base] = str(image.platform)  # of others a name has none here
        return check_dockerfile(file, options.arguments, platform, known, options.ignore, platforms)

    async def _report(
        self,
        file: Dockerfile,
        options: BuildOptions,
        platform: Mapping[str, str],
        findings: Sequence[Finding],
        warn: Warn,
    ) -> None:
        for finding in findings:
            await warn(str(finding))
        unused = unused_arguments(file, options.arguments, platform)
        if unused:
            await warn(f"One or more build-args [{' '.join(unused)}] were not consumed")


def _named(tell: Tell, platform: str) -> Tell:
    """Titles begin with the platform, when there are several."""

    async def named(title: str, status: str, text: str) -> None:
        await tell(f"{platform} {title}", status, text)

    return named if platform else tell


async def tell_syntax(file: Dockerfile, tell: Tell) -> None:
    """Say that there is one language here, whatever image ``# syntax=`` names."""
    await tell(f"# syntax={file.directives.syntax}", "Skipped", "composer reads Dockerfiles itself")


def _outputs(request: ImageBuild) -> list[Output]:
    """What is asked for, else an image in the store. Raises InvalidArgument for what there is not."""
    attestations = parse_attestations(request.provenance, request.sbom)
    found = [parse_output(text, request.annotations) for text in request.outputs]
    found = found or [parse_output("type=image", request.annotations)]
    if attestations.is_any and any(output.type == "docker" and output.dest for output in found):
        raise InvalidArgument(
            "an archive of type=docker has no place for attestations", hint="write it with type=oci"
        )
    if sum(output.dest == "-" for output in found) > 1:
        raise InvalidArgument("only one output can go to the standard output")
    return found


def _epoch(request: ImageBuild) -> int | None:
    text = request.args.get(EPOCH, "")
    if not text:
        return None
    if not text.isdecimal():
        raise InvalidArgument(f"{EPOCH} is a number of seconds, not {text!r}")
    return int(text)
