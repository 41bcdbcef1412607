"""One build: a Dockerfile's text becomes steps (``runtime.build.frontend``), the steps a graph of which only what is
not in the cache is done (``composer.engine.builds.solving``), and the last one's layers an image.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path

import trio
from msgspec.structs import replace

from composer.engine.builds.attesting import provenance_of
from composer.engine.builds.builder import Builder, Product, Session
from composer.engine.builds.cache_options import parse_cache_from, parse_cache_to
from composer.engine.builds.options import BuildOptions
from composer.engine.builds.sbom import SCAN_CONTEXT, SCAN_STAGE, Scan, Scanner, is_asked, scan_step
from composer.engine.builds.solving import Solve
from composer.engine.builds.transfer import CacheTransfer, inline_field
from composer.engine.builds.workshop import Tell
from runtime.build.frontend.convert import Asked, Base, Result, convert, images_needed
from runtime.build.frontend.lines import Line
from runtime.build.frontend.stages import no_such_stage, parse_dockerfile, platform_arguments
from runtime.build.ignore import keep_all
from runtime.build.solver.keys import fresh_steps
from runtime.build.steps import ContextSource, DockerfileError, ImageSource
from runtime.build.worker.snapshot import Snapshot
from runtime.build.worker.worker import Setting
from runtime.errors import ComposerError
from runtime.image.attestations import Attestation
from runtime.image.model import Image

_DIRECTORIES = ("docker-image://",)


class SingleBuild:
    def __init__(self, builder: Builder, options: BuildOptions, tell: Tell, session: Session) -> None:
        self.builder = builder
        self.parts = builder.parts
        self.options = options
        self._tell = tell
        self._session = session
        self._images: dict[tuple[str, str], Image] = {}
        self._stages: list[str] = []
        self._scanner: Scanner | None = None

    async def run(self) -> Product:
        options, started = self.options, time.time()
        target, own = self.parts.images.platform_of(options.platform), self.parts.images.platform_of("")
        platform = platform_arguments(str(target), str(own))
        file = parse_dockerfile(options.dockerfile, options.arguments, platform, options.file)
        self._stages = [stage.name for stage in file.stages if stage.name]
        asked = Asked(
            arguments=options.arguments,
            platform=platform,
            contexts=options.contexts,
            network=options.network,
            target=str(target) if target != own else "",
            epoch=options.epoch,
            allow=options.allow,
            hosts=options.extra_hosts,
            shm_size=options.shm_size,
        )
        bases: dict[tuple[str, str], Base] = {}
        for source in images_needed(file, options.target, asked):
            image = await self._image(source)
            bases[source.reference, source.platform] = Base(config=image.config, on_build=image.on_build)
        results = convert(file, options.target, asked, bases)
        result = results[-1]
        places = [parse_cache_to(text) for text in options.cache_to]
        transfer = CacheTransfer(self.builder.remote, self._tell, options.credentials)
        async with transfer.imported([parse_cache_from(text) for text in options.cache_from]) as imports:
            solve = Solve(
                self.builder.shop,
                self._setting(),
                fresh_steps(options.no_cache, options.no_cache_stages),
                self._source,
                self._tell,
                self._session.remembered,
                imports,
            )
            with closing(solve):
                scan = await self._scan(results, file.arguments)
                targets = [result.step, scan.step if scan is not None else None]
                await solve.run([step for step in targets if step is not None])
                is_inline = any(place.type == "inline" for place in places)
                image = await self._assembled(result, solve, is_inline=is_inline)
                await transfer.export(places, solve, image.chain_ids)
                told = self._tell if options.explain else None
                await self.builder.traces.follow(solve, options.file, told)
                said: list[Attestation] = []
                if (wanted := options.attestations.provenance) is not None:
                    said.append(await provenance_of(options, wanted, solve, self._bases(), str(own), started))
                if scan is not None:
                    said += await trio.to_thread.run_sync(scan.read, solve.results[scan.step])
        if solve.has_made:
            self.builder.shop.undurable.add(image.id)
            self.builder.shop.has_grown.set()
        return Product(image, target, tuple(said))

    async def _scan(self, results: Sequence[Result], arguments: Mapping[str, str]) -> Scan | None:
        """What lists the packages of the result, when that is asked for."""
        name, target = self.options.attestations.generator, results[-1].step
        if name is None or target is None:
            return None
        self._scanner = scanner = Scanner(name)
        image = await self._image(source := scanner.source)
        given = {**arguments, **self.options.arguments}
        extras = {one.name: one.step for one in results[:-1] if one.step is not None and one.name}
        if not is_asked(SCAN_STAGE, given):
            extras = {}
        if is_asked(SCAN_CONTEXT, given):
            extras["context"] = ContextSource(text="context", place=scanner)
        return scan_step(scanner, source, image.config, target, extras, self.options.network)

    def _bases(self) -> Mapping[tuple[str, str], Image]:
        """The images that the Dockerfile names."""
        own = self._scanner.reference if self._scanner is not None else ""
        return {key: image for key, image in self._images.items() if key[0] != own}

    async def _assembled(self, result: Result, solve: Solve, *, is_inline: bool) -> Image:
        options = self.options
        config = result.config
        if options.labels:
            config = replace(config, labels={**config.labels, **options.labels})
        base = await self._image(result.base) if result.base is not None else None
        last = solve.results[result.step] if result.step is not None else self.builder.shop.worker.nothing
        made = iter(last.made)
        history: list[dict[str, object]] = [
            {"created_by": item.created_by}
            if item.step is not None and next(made)
            else {"created_by": item.created_by, "empty_layer": True}
            for item in result.history
        ]
        step_images = self.builder.shop.worker.step_images
        further = inline_field(solve, step_images.layers(last.image)) if is_inline else {}
        return step_images.result(
            last.image,
            base,
            config,
            history,
            created=last.created if options.epoch is None else options.epoch,
            platform=result.platform,
            author=result.author,
            tags=options.tags,
            on_build=result.on_build,
            further=further,
        )

    def _setting(self) -> Setting:
        contexts = {"": (self.options.context, self.options.ignore)}
        for name, source in self.options.contexts.items():
            if not source.startswith(_DIRECTORIES):
                contexts[name] = (Path(source), self.options.named_ignores.get(name, keep_all))
        return Setting(
            contexts=contexts,
            context_name=self.options.context_name,
            secrets=self.options.secrets,
            ulimits=self.options.ulimits,
            label=self.options.file,
            env=self.options.env,
            agents=self.options.ssh,
            keeps_failed=self.options.keeps_failed,
            on_failed=self._session.on_failed,
            allow=self.options.allow,
        )

    async def _source(self, source: ImageSource) -> Snapshot:
        return self.builder.shop.worker.image(await self._image(source))

    async def _image(self, source: ImageSource) -> Image:
        """An image that the Dockerfile names, pulled when it has to be."""
        key = (source.reference, source.platform)
        if (found := self._images.get(key)) is not None:
            return found
        try:
            self._images[key] = image = await self._pulled(source)
        except DockerfileError:
            raise
        except ComposerError as error:
            is_base = isinstance(source.place, Line) and source.place.name == "FROM"
            told, hint = error.message, error.hint
            if missing := no_such_stage(source.reference, self._stages, is_base=is_base):
                told = f"{missing}, and as an image it cannot be had: {told}"
                hint = ""
            raise source.place.error(told, source.reference, hint) from None
        if image.is_embedded:
            raise source.place.error(
                f"{source.reference} is this machine itself: nothing can be built on it", source.reference
            )
        return image

    async def _pulled(self, source: ImageSource) -> Image:
        reference, images = source.reference, self.parts.images
        if source.platform and images.platform_of(source.platform) != images.platform_of(""):
            try:
                return await self.builder.foreign.image(
                    reference, source.platform, self.options.credentials, pull=self.options.pull
                )
            except ComposerError as error:
                raise source.place.error(error.message.partition("\n")[0], reference) from None
        image = images.resolve(reference)
        if image is None or (self.options.pull and image.tags):
            await self.parts.pull_image(reference, "", lambda *_: None, self.options.credentials)
            image = images.get(reference)
        return image
